//! Tasks of the repository: `cargo xtask TASK`. One module per task.

mod bench;
mod cluster;
mod demo;
mod e2e;
mod examples;
mod mutants;
mod policies;
mod policy;
mod reach;
mod sandbox;
mod test;
mod tools;
mod workspace;

use clap::{Parser, Subcommand};

/// Tasks of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Shows a container network on this machine: addresses by tenured, a full pool, a zombie that comes back.
    Demo,
    /// Runs the whole test suite, the one against real CNI plugins included. What follows `--` goes to the test runner.
    Test {
        /// Arguments for `cargo test`, e.g. `-- -p tenure-engine`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Plants the bugs of `host/sim/mutations` in a copy of the sources, one by one, and shows that tests see them.
    Mutants {
        /// Their names or numbers; all without any.
        names: Vec<String>,
    },
    /// Measures release builds side by side with host-local; all benchmarks but `cluster` and `scale`, or the named ones.
    Bench {
        /// process, durable, select, swap, pool-size, memory, cluster (Kubernetes mode against a real API server, ten minutes;
        /// `TENURE_BENCH_PODS=50 TENURE_BENCH_NODES=3` for a small one), scale (a hundred agents and 50,000 leases, fifteen
        /// minutes; `TENURE_BENCH_LEVELS=1000 TENURE_BENCH_SECONDS=10` for a small one).
        names: Vec<String>,
        /// One JSON object per line instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// A real Kubernetes on this machine, with Tenure in it: three nodes, pods on macvlan, a pool of 60 addresses.
    Cluster {
        #[command(subcommand)]
        verb: cluster::Verb,
    },
    /// Plays what happens to clusters in a real Kubernetes: rebuilds, power cuts, partitions, kills.
    E2e {
        /// create, rebuild, stateful, power-cut, all-off, partition, kills, empty; all without any.
        names: Vec<String>,
        /// Takes tenured, plugin and policies as they stand in the target folder.
        #[arg(long)]
        no_build: bool,
        /// Leaves the cluster up.
        #[arg(long)]
        keep: bool,
    },
    /// Installs the foreign tools that tests and demo need into `target/tools/bin`.
    Tools,
    /// One end of the demo's reachability check.
    #[command(hide = true)]
    Reach { role: String, address: std::net::IpAddr, name: String },
    /// Accepts the present output as the golden files of all crates.
    Bless,
    /// Builds the shipped policies and the test guests as Wasm components into `target/policies`.
    Policies,
    /// Builds the example policies in other languages into `target/policies/examples`: go, js, python; all without any name.
    Examples {
        /// Their names.
        names: Vec<String>,
    },
    /// What the build scripts of the examples need of `tenure policy`.
    #[command(hide = true)]
    Policy {
        #[command(subcommand)]
        verb: policy::Verb,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test { arguments } => test::run(&arguments),
        Task::Mutants { names } => mutants::run(&names),
        Task::Bench { names, json } => bench::run(&names, json),
        Task::Cluster { verb } => cluster::run(verb),
        Task::E2e { names, no_build, keep } => e2e::run(&names, no_build, keep),
        Task::Tools => {
            tools::install()?;
            tools::install_registry()?;
            tools::install_kubernetes().map(|folder| println!("{}", folder.display()))
        }
        Task::Reach { role, address, name } => reach::run(&role, address, &name),
        Task::Bless => test::bless(),
        Task::Policies => policies::run(),
        Task::Examples { names } => examples::build(&names),
        Task::Policy { verb } => policy::run(verb),
    }
}

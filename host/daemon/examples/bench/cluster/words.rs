//! What the figures of a run depend on and what limits them, in words on standard error.

use super::counters::Kind;
use super::story::{Phase, Run, cores};
use super::usage::Cpu;

/// Whose CPU is counted.
pub(crate) const ROLES: [&str; 6] =
    ["kube-apiserver", "etcd", "allocators", "agents", "plugins", "bench"];

/// `deploy/kubernetes/20-flowschema.yaml`.
const ALLOCATOR_SCHEMA: &str = "tenure-allocator";

/// Everything that is worth to know of a run beside its figures.
pub(crate) fn say(run: &Run) {
    run.phases.iter().for_each(|phase| say_phase(phase, run));
    say_limit(run);
    for (words, count) in &run.complaints {
        eprintln!("    logs, {count} times: {words}");
    }
    for twice in run.held_twice.iter().take(5) {
        eprintln!("    HELD TWICE: {twice}");
    }
}

/// What an ADD or a DEL may call; leaders, tokens, status and node leases are apart.
pub(crate) fn on_path(resource: &str) -> bool {
    matches!(resource, "ipleases" | "pods")
}

fn say_phase(phase: &Phase, run: &Run) {
    let pods = run.pods as f64;
    let roles: Vec<String> =
        ROLES.iter().map(|role| format!("{role} {:.1}", phase.cpu.of(role) * 1e3 / pods)).collect();
    eprintln!(
        "    {}: {:.2} s, {}; CPU ms per pod: {}",
        phase.name,
        phase.took.as_secs_f64(),
        busy(&phase.cpu, phase.took),
        roles.join(", ")
    );
    eprintln!("      calls: {}", phase.calls.requests(on_path).join(", "));
    eprintln!("      apart: {}", phase.calls.requests(|r| !on_path(r)).join(", "));
    let ours = |schema: &str, _: &str| schema == ALLOCATOR_SCHEMA;
    let (waited, queued) =
        (phase.calls.sum(Kind::Waited, ours), phase.calls.sum(Kind::Queued, ours));
    eprintln!(
        "      queues of the API server: {:.1} ms per request",
        waited * 1e3 / queued.max(1.0)
    );
    if phase.failed_tries > 0 || phase.differing > 0 {
        eprintln!(
            "      {} failed tries, {} failures, {} addresses recorded otherwise",
            phase.failed_tries, phase.failures, phase.differing
        );
    }
    phase.said.iter().for_each(|said| eprintln!("      {said}"));
}

fn busy(cpu: &Cpu, took: std::time::Duration) -> String {
    let cores = cores();
    let all = cores * took.as_secs_f64();
    let (ours, machine) = (cpu.ours() / all * 100.0, cpu.machine / all * 100.0);
    format!("{cores} cores {ours:.0} % busy with it and {:.0} % with others", machine - ours)
}

/// In which part of the time of `create all` the API server had its share, and who had the rest.
fn say_limit(run: &Run) {
    let create = run.phase("create all");
    let (addresses, pods) = (run.addresses(), run.pods as f64);
    let server = |cpu: &Cpu| cpu.of("kube-apiserver") + cpu.of("etcd");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!(
        "    alone: {:.2} s for {addresses} creates of {} bytes, {:.2} s for replaces, {:.1} ms of server CPU for create, replace and delete; {:.2} s for {pods} plugin processes; load {}",
        run.floor.create.as_secs_f64(),
        run.floor.bytes,
        run.floor.replace.as_secs_f64(),
        server(&run.floor_cpu) * 1e3 / addresses,
        run.plugin.as_secs_f64(),
        load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
    );
    let (of_create, of_rebuild) = run.floors();
    let (of_create, of_rebuild) = (of_create.as_secs_f64(), of_rebuild.as_secs_f64());
    eprintln!(
        "    a rebuild is two replaces and two processes for each address, and {:.2} s of the kernel for the namespaces that end: {of_rebuild:.2} s, against {of_create:.2} s for a create: {:.2} times, if whoever allocates takes nothing",
        run.ends.as_secs_f64(),
        of_rebuild / of_create,
    );
    let ours = create.cpu.ours().max(f64::MIN_POSITIVE);
    let mut shares: Vec<(f64, &str)> =
        ROLES.iter().map(|role| (create.cpu.of(role) / ours * 100.0, *role)).collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shares: Vec<String> =
        shares.iter().map(|(share, role)| format!("{role} {share:.0} %")).collect();
    let share = create.cpu.machine / (cores() * create.took.as_secs_f64());
    let what = if share > 0.85 { "CPU: all cores are busy" } else { "waiting: cores are idle" };
    eprintln!("    what limits create: {what}; who takes the CPU: {}", shares.join(", "));
}

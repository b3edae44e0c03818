//! The policies, each from its seed alone.

use wasm_smith::{Component, Config, Module};

use crate::forge::{Parts, componentize};
use crate::world::{folder, guest};

/// Bytes for the choices of `wasm-smith`.
const CHOICES: usize = 2048;
/// A shipped component compiles for a tenth of a second in this profile: a few of them are enough.
const SHIPPED_OF_100: u64 = 3;

/// What the makers share.
pub struct Makers {
    /// A module that has the exports of a policy; of these only names and types count.
    exports: Vec<u8>,
    /// A small policy that works.
    small: Vec<u8>,
    /// Policies that people use.
    shipped: Vec<Vec<u8>>,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

impl Makers {
    pub fn new() -> Self {
        let exports = wat::parse_str(Parts::default().text()).unwrap();
        let mut shipped: Vec<Vec<u8>> = ["balanced", "grace"]
            .map(|name| std::fs::read(folder().join(format!("{name}.wasm"))).unwrap())
            .into();
        shipped.push(std::fs::read(guest("hostile")).unwrap());
        Self { exports, small: Parts::default().component(), shipped }
    }

    /// The policy of that seed, and of which kind it is.
    pub fn make(&self, seed: u64) -> (&'static str, Vec<u8>) {
        let mut random = Random(seed);
        match random.next() % 100 {
            kind if kind < SHIPPED_OF_100 => {
                let at = random.below(self.shipped.len());
                ("shipped, changed", changed(&self.shipped[at], &mut random))
            }
            kind if kind < 35 => ("small, changed", changed(&self.small, &mut random)),
            kind if kind < 50 => ("wasm-smith component", component(&mut random)),
            _ => ("wasm-smith module", self.module(&mut random)),
        }
    }

    /// A module of any content with the exports of a policy, as a component. Where it cannot be one, its bare self.
    fn module(&self, random: &mut Random) -> Vec<u8> {
        let choices = random.bytes(CHOICES);
        // One of four may use whatever there is; what this host lacks would else be the end of nearly all.
        let wild = random.next().is_multiple_of(4);
        let config = Config {
            exports: Some(self.exports.clone()),
            max_imports: 0,
            max_memories: usize::from(wild),
            max_memory32_bytes: 1 << 20,
            max_table_elements: if wild { 1_000_000 } else { 1_000 },
            memory64_enabled: wild,
            threads_enabled: wild,
            gc_enabled: wild,
            reference_types_enabled: wild,
            exceptions_enabled: wild,
            relaxed_simd_enabled: wild,
            wide_arithmetic_enabled: wild,
            // What would make nearly all of them end at their first instruction.
            disallow_traps: random.next().is_multiple_of(2),
            allow_start_export: random.next().is_multiple_of(4),
            ..Config::default()
        };
        let mut source = arbitrary::Unstructured::new(&choices);
        let Ok(module) = Module::new(config, &mut source) else { return Vec::new() };
        let module = module.to_bytes();
        componentize(module.clone()).unwrap_or(module)
    }
}

/// A component of any content, which is valid as such.
fn component(random: &mut Random) -> Vec<u8> {
    let choices = random.bytes(CHOICES);
    let mut source = arbitrary::Unstructured::new(&choices);
    Component::new(Config::default(), &mut source).map_or_else(|_| Vec::new(), |one| one.to_bytes())
}

/// The component with one to four of its places changed: a byte, or a stretch that is cut out, doubled or overwritten.
fn changed(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.next() % 16 {
            0 => drop(bytes.drain(at..(at + random.below(16)).min(bytes.len()))),
            1 => {
                let stretch = bytes[at..(at + random.below(16)).min(bytes.len())].to_vec();
                bytes.splice(at..at, stretch);
            }
            2 => {
                let from = random.below(bytes.len());
                let stretch = bytes[from..(from + 8).min(bytes.len())].to_vec();
                let end = (at + stretch.len()).min(bytes.len());
                bytes.splice(at..end, stretch);
            }
            3..6 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            _ => bytes[at] ^= 1 << random.below(8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

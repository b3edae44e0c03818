//! The allocator of a policy. An instance lives for one decision and its memory is set back to its first state
//! afterwards; the host does that by changing page protections only if the memory grew. So the heap begins in an arena
//! that is part of the first memory, large enough that ordinary decisions never grow it (measured: with 64 decisions
//! at once, growth took an eighth of all processor time).

#![expect(unsafe_code, reason = "a global allocator hands out raw memory")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// A request with a hundred candidates and the answer to it take some 40 KiB. With stack and data the first memory stays
/// below the least that a policy can be limited to (256 KiB).
const ARENA_BYTES: usize = 96 << 10;
const PAGE_BYTES: usize = 64 << 10;
/// What the allocator needs beside the bytes of an allocation, at most.
const OVERHEAD_BYTES: usize = 64;

static mut ARENA: [MaybeUninit<u8>; ARENA_BYTES] = [MaybeUninit::uninit(); ARENA_BYTES];

#[global_allocator]
static MEMORY: TalcSyncCell<ArenaThenGrow, WasmBinning> =
    TalcSyncCell::new_wasm(ArenaThenGrow { arena_taken: false });

/// First the arena, then whole pages as they are needed.
#[derive(Debug)]
struct ArenaThenGrow {
    arena_taken: bool,
}

// SAFETY: `acquire` allocates nothing and touches no other allocator.
unsafe impl Source for ArenaThenGrow {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) = if talc.source.arena_taken {
            let bytes = layout.size().saturating_add(layout.align()).saturating_add(OVERHEAD_BYTES);
            let pages = bytes.div_ceil(PAGE_BYTES);
            match memory_grow::<0>(pages) {
                usize::MAX => return Err(()),
                before => ((before * PAGE_BYTES) as *mut u8, pages * PAGE_BYTES),
            }
        } else {
            talc.source.arena_taken = true;
            ((&raw mut ARENA).cast::<u8>(), ARENA_BYTES)
        };
        // SAFETY: the arena is named nowhere else and taken once; pages that were grown belong to whoever grew them.
        unsafe { talc.claim(base, size) }.map(|_| ()).ok_or(())
    }
}

//! What would differ from run to run, made the same by the seed.
//!
//! Two things draw numbers behind the back of `store::ambient`: the standard library, whose maps iterate in an order that
//! the system's randomness decides, and the SDK, whose pauses between two attempts are random. The first asks the system once a
//! thread, so a run has a thread of its own; the second has a generator in each thread that can be seeded.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};

thread_local! {
    /// The state of this thread's generator; none outside of a run.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on, everything random in this thread follows from the seed.
pub fn seed(seed: u64) {
    STATE.set(Some(seed));
    fastrand::seed(seed);
}

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>
const fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Stands in the place of libc's function of this name, as madsim has it too: in the thread of a run it answers from the
/// seed, and in every other it asks the system.
///
/// # Safety
/// `buffer` must have room for `length` bytes, as for the function of libc.
#[expect(unsafe_code, reason = "the standard library has no other seam for what it seeds its maps with")]
// SAFETY: it has the signature of libc's and keeps its contract, so a caller of that may call this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut state) = STATE.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the caller's promise is what the system call asks for.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
    };
    // SAFETY: the caller promises room for this many bytes, which no other code uses meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<std::mem::MaybeUninit<u8>>(), length) };
    for chunk in bytes.chunks_mut(8) {
        let drawn = next(&mut state).to_le_bytes();
        for (byte, drawn) in chunk.iter_mut().zip(drawn) {
            byte.write(drawn);
        }
    }
    STATE.set(Some(state));
    isize::try_from(length).unwrap_or(isize::MAX)
}

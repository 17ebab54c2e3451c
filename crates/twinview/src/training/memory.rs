//! Freed memory.

/// Has the GNU C library keep freed memory for what is asked for next, up to 64 MiB of it. Call it once, as the program begins;
/// with other C libraries it does nothing.
///
/// A step of training frees tensors that the next step asks for anew. By itself the library gives back to the system what is free
/// at the end of its heap beyond twice the largest block that was ever mapped apart and freed, and the next step has each page
/// cleared and mapped again (mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`). Here one block of the largest size that counts is
/// mapped and freed. Nothing is written to it, so that it takes no memory.
pub fn keep_freed_memory() {
    /// Blocks above 32 MiB do not count; a few pages are the library's own.
    const LARGEST: usize = (32 << 20) - (64 << 10);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGEST)));
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Pages that were mapped for this thread when it first touched them.
    fn mapped() -> usize {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The thread's name comes second, in parentheses, and may hold anything.
        let rest = stat.rsplit_once(')').unwrap().1;
        rest.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_freed_is_not_mapped_again() {
        // In a process of its own: here other tests have freed memory, and large blocks, before.
        const ALONE: &str = "TWINVIEW_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let name = concat!(module_path!(), "::what_is_freed_is_not_mapped_again").split_once("::").unwrap().1;
            let outcome = child.args([name, "--exact"]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&outcome.stdout);
            assert!(outcome.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        keep_freed_memory();
        let step = || {
            let before = mapped();
            let tensors = [0; 4].map(|_| vec![1_u8; 6 << 20]);
            drop(std::hint::black_box(tensors));
            mapped() - before
        };
        let (first, second) = (step(), step());
        assert!(first > 5_000 && second < 500, "{first} pages, then {second}");
    }
}

//! Every public module of the library opens with an example that runs.

use std::fs;
use std::path::Path;

use crate::pages::root;

#[test]
fn every_public_module_has_an_example() {
    let mut seen = 0;
    look(&root().join("crates/twinview/src"), "lib", &mut seen);
    assert!(seen > 15, "{seen} modules");
}

/// Looks at the modules that the file of `module` in `folder` makes public.
fn look(folder: &Path, module: &str, seen: &mut usize) {
    let inner = if module == "lib" { folder.to_owned() } else { folder.join(module) };
    let file = [inner.join("mod.rs"), folder.join(format!("{module}.rs"))].into_iter().find(|path| path.is_file());
    let file = file.unwrap_or_else(|| panic!("no file of module {module} in {}", folder.display()));
    let text = fs::read_to_string(&file).unwrap();
    let opening: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let has_example = opening.contains(&"//! ```");
    assert!(has_example || module == "lib", "{}: opens with no example (```) in its //! text", file.display());
    *seen += 1;
    for name in text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        look(&inner, name, seen);
    }
}

//! What the definitions may become: an object that was stored under a released one stays readable, writable, and says the
//! same (docs/adr/0021).

mod judge;

use std::fs;

use serde_json::Value;
use testbed::workspace_root;

use crate::documents::below;
use crate::generated_files::definitions;
use judge::breaks;

/// The definitions that people may have stored objects with, by file name.
pub(crate) fn released() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    below(&workspace_root().join("tests/data/released"), "yaml", &mut files);
    let read = |file: &std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap())
    };
    files.iter().map(read).collect()
}

#[test]
fn no_definition_breaks_an_object_that_a_released_one_took() {
    let released = released();
    for (plural, now) in definitions() {
        let now: Value = serde_saphyr::from_str(&now).unwrap();
        let of_this = |(_, before): &&(String, Value)| before["metadata"]["name"] == now["metadata"]["name"];
        let before: Vec<_> = released.iter().filter(of_this).collect();
        assert!(!before.is_empty(), "no released definition of {plural} is found");
        for (name, before) in before {
            let broken = breaks(before, &now);
            assert!(
                broken.is_empty(),
                "since {name} the definition breaks what docs/adr/0021 promises:\n{}",
                broken.join("\n")
            );
        }
    }
}

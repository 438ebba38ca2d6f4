use super::*;
use proptest::prelude::*;

fn ids() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f]{64}",
        "sha256:[0-9a-f]{64}",
        "[A-Za-z0-9._:-]{1,128}",
        Just("..".to_owned()),
        Just(".".to_owned())
    ]
}

proptest! {
    #[test]
    fn every_name_of_an_entry_is_read_as_it_was_written_and_stays_in_its_folder(id in ids(), number in 1_usize..1_000_000) {
        let id: Id = id.parse().unwrap();
        let names = [
            Name::Readme,
            Name::Repo,
            Name::Release(number),
            Name::Snapshot(id.clone().into()),
            Name::Object(id.clone().into()),
            Name::Commit(id.into()),
        ];
        for name in names {
            let path = name.path();
            prop_assert_eq!(Name::parse(&path), Some(name));
            prop_assert!(path.split('/').all(|part| part != ".." && part != "." && part.len() <= 100), "{}", path);
            let mut header = tar::Header::new_ustar();
            header.set_path(&path).unwrap();
            prop_assert_eq!(header.path_bytes(), path.as_bytes());
        }
    }

    #[test]
    fn no_other_path_is_read_as_a_name(path in "(commits|objects|snapshots|releases|repo)[/._a-f0-9a-z]{0,80}") {
        if let Some(name) = Name::parse(&path) {
            prop_assert_eq!(name.path(), path);
        }
    }
}

//! GTID sets against a naive set of numbers, and the forms in which servers print and send them.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const UUIDS: [&str; 2] = ["00000000-0000-0000-0000-00000000000a", "3e11fa47-71ca-11e1-9e33-c80aa9429562"];

type Naive = BTreeSet<(Uuid, &'static str, u64)>;

fn transactions() -> impl Strategy<Value = Naive> {
    let uuid = prop::sample::select(UUIDS.map(|text| text.parse::<Uuid>().unwrap()).to_vec());
    let tag = prop::sample::select(vec!["", "", "a", "tag_2"]);
    prop::collection::btree_set((uuid, tag, 1..40u64), 0..60)
}

fn set_of(naive: &Naive) -> GtidSet {
    let mut set = GtidSet::default();
    for &(uuid, tag, number) in naive.iter().rev() {
        set.add(uuid, tag, number);
    }
    set
}

proptest! {
    #[test]
    fn a_set_behaves_as_the_set_of_its_numbers(a in transactions(), b in transactions()) {
        let (left, right) = (set_of(&a), set_of(&b));
        let mut union = left.clone();
        union.union(&right);
        prop_assert_eq!(&union, &set_of(&a.union(&b).copied().collect()));
        let mut difference = left.clone();
        difference.subtract(&right);
        prop_assert_eq!(&difference, &set_of(&a.difference(&b).copied().collect()));
        prop_assert_eq!(left.is_subset(&right), a.is_subset(&b));
        prop_assert!(left.is_subset(&union) && difference.is_subset(&left));
        for &(uuid, tag, number) in a.union(&b) {
            prop_assert_eq!(left.contains(uuid, tag, number), a.contains(&(uuid, tag, number)));
        }
    }

    #[test]
    fn a_set_reads_back_from_text_and_bytes(a in transactions()) {
        let set = set_of(&a);
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
        prop_assert_eq!(&GtidSet::from_wire(&set.to_wire()).unwrap(), &set);
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let mut input = &bytes[..];
        prop_assert_eq!(GtidSet::decode(&mut input), Some(set));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = GtidSet::from_wire(&bytes);
        let _ = GtidSet::decode(&mut &bytes[..]);
        let _ = GtidPos::decode(&mut &bytes[..]);
    }
}

#[test]
fn texts_are_read_as_the_server_prints_them() {
    let a = UUIDS[0];
    let b = UUIDS[1];
    for (text, printed) in [
        (String::new(), String::new()),
        (format!("{a}:5"), format!("{a}:5")),
        (format!("{a}:1-8:tag:1-2"), format!("{a}:1-8:tag:1-2")),
        (format!("{b}:1-2,\n{a}:7:3-6:1 , "), format!("{a}:1:3-7,{b}:1-2")),
        (format!("{a}:Tag:1"), format!("{a}:tag:1")),
        (format!("{}:9-8", b.to_uppercase()), String::new()),
    ] {
        assert_eq!(text.parse::<GtidSet>().unwrap().to_string(), printed, "{text}");
    }
    for text in
        ["x", "1-2-3", &format!("{a}:0"), &format!("{a}:1-"), &format!("{a}:9223372036854775807"), &format!("{a}:é")]
    {
        assert!(text.parse::<GtidSet>().is_err(), "{text}");
    }
}

#[test]
fn the_wire_form_is_the_servers() {
    let plain: GtidSet = format!("{}:1-3", UUIDS[0]).parse().unwrap();
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
    expected.extend([0; 15]);
    expected.extend([10, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(plain.to_wire(), expected);
    let tagged: GtidSet = format!("{}:t:1", UUIDS[0]).parse().unwrap();
    let mut expected = vec![1, 1, 0, 0, 0, 0, 0, 1];
    expected.extend([0; 15]);
    expected.extend([10, 2, b't', 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(tagged.to_wire(), expected);
}

#[test]
fn a_mariadb_position_keeps_the_last_of_each_domain() {
    let mut position: GtidPos = "1-7-9, 0-1-100".parse().unwrap();
    assert_eq!(position.to_string(), "0-1-100,1-7-9");
    assert!(position.reached(&"0-2-100".parse().unwrap()));
    assert!(!position.reached(&"0-2-101".parse().unwrap()));
    assert!(!position.reached(&"5-1-1".parse().unwrap()));
    position.set("0-2-101".parse().unwrap());
    assert_eq!(position.to_string(), "0-2-101,1-7-9");
    let mut bytes = Vec::new();
    position.encode(&mut bytes);
    assert_eq!(GtidPos::decode(&mut &bytes[..]), Some(position));
    for bad in ["1-2", "a-b-c", "1-2-3-4", "4294967296-1-1"] {
        assert!(bad.parse::<GtidPos>().is_err(), "{bad}");
    }
}

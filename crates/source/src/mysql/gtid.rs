//! Global transaction ids: MySQL's sets (tags included) and MariaDB's positions, as text, as bytes, and as sets.
//!
//! Invariant: the intervals of a source are sorted, disjoint and never touch, so equal sets are equal values and adding
//! the next number is one comparison. Start at [`GtidSet`]; [`GtidPos`] is MariaDB's.

use super::decode::MariaGtid;
use headwater_model::varint::{put_bytes, put_u64, take_array, take_str, take_u64};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Letters of a tag at most: MySQL's own limit.
pub const TAG_BYTES_MAX: usize = 32;

/// The largest transaction number, exclusive end of every interval: MySQL's own limit.
const NUMBER_END: u64 = i64::MAX as u64;

/// The text or the bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID set: {0}")]
pub struct NotGtids(String);

/// A server's UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = NotGtids;

    fn from_str(text: &str) -> Result<Self, NotGtids> {
        let wrong = || NotGtids("a server's UUID is 32 hexadecimal digits in groups of 8-4-4-4-12".to_owned());
        let bytes = text.as_bytes();
        let dashed = bytes.len() == 36 && [8, 13, 18, 23].iter().all(|&i| bytes[i] == b'-');
        if !dashed {
            return Err(wrong());
        }
        let mut digits = bytes.iter().enumerate().filter(|(i, _)| !matches!(i, 8 | 13 | 18 | 23)).map(|(_, &b)| b);
        let mut uuid = [0; 16];
        for byte in &mut uuid {
            for _ in 0..2 {
                let digit = digits.next().and_then(|d| char::from(d).to_digit(16)).ok_or_else(wrong)?;
                *byte = *byte << 4 | digit as u8;
            }
        }
        Ok(Uuid(uuid))
    }
}

/// Numbers as half-open intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    fn add(&mut self, start: u64, end: u64) {
        if let Some(last) = self.0.last_mut()
            && last.1 == start
        {
            last.1 = end;
            return;
        }
        // All intervals that touch the new one, `from..to`, melt into it.
        let from = self.0.partition_point(|&(_, other_end)| other_end < start);
        let to = self.0.partition_point(|&(other_start, _)| other_start <= end);
        let merged = match self.0.get(from..to) {
            Some([first, ..]) => (start.min(first.0), end.max(self.0[to - 1].1)),
            _ => (start, end),
        };
        self.0.splice(from..to.max(from), [merged]);
    }

    fn subtract(&mut self, other: &Intervals) {
        let mut left = Vec::with_capacity(self.0.len());
        for &(mut start, end) in &self.0 {
            let first = other.0.partition_point(|&(_, other_end)| other_end <= start);
            for &(cut_start, cut_end) in other.0[first..].iter().take_while(|cut| cut.0 < end) {
                if start < cut_start {
                    left.push((start, cut_start));
                }
                start = cut_end;
            }
            if start < end {
                left.push((start, end));
            }
        }
        self.0 = left;
    }

    fn holds(&self, start: u64, end: u64) -> bool {
        let at = self.0.partition_point(|&(_, other_end)| other_end <= start);
        self.0.get(at).is_some_and(|&(other_start, other_end)| other_start <= start && end <= other_end)
    }
}

/// A MySQL GTID set: for every server and tag, the numbers of its transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<Uuid, BTreeMap<Box<str>, Intervals>>,
}

impl GtidSet {
    /// Adds one transaction; `tag` is empty for an untagged one.
    pub fn add(&mut self, uuid: Uuid, tag: &str, number: u64) {
        self.add_interval(uuid, tag, number, number.saturating_add(1));
    }

    fn add_interval(&mut self, uuid: Uuid, tag: &str, start: u64, end: u64) {
        let tags = self.sources.entry(uuid).or_default();
        match tags.get_mut(tag) {
            Some(intervals) => intervals.add(start, end),
            None => {
                tags.insert(tag.into(), Intervals(vec![(start, end)]));
            }
        }
    }

    /// Whether the transaction is in the set.
    pub fn contains(&self, uuid: Uuid, tag: &str, number: u64) -> bool {
        self.sources
            .get(&uuid)
            .and_then(|tags| tags.get(tag))
            .is_some_and(|intervals| intervals.holds(number, number.saturating_add(1)))
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether every transaction of this set is in `other`.
    pub fn is_subset(&self, other: &GtidSet) -> bool {
        self.entries().all(|(uuid, tag, intervals)| {
            let theirs = other.sources.get(&uuid).and_then(|tags| tags.get(tag));
            theirs.is_some_and(|theirs| intervals.0.iter().all(|&(start, end)| theirs.holds(start, end)))
        })
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &GtidSet) {
        for (uuid, tag, intervals) in other.entries() {
            for &(start, end) in &intervals.0 {
                self.add_interval(uuid, tag, start, end);
            }
        }
    }

    /// Takes away all that is in `other`.
    pub fn subtract(&mut self, other: &GtidSet) {
        for (uuid, tags) in &mut self.sources {
            let Some(theirs) = other.sources.get(uuid) else { continue };
            tags.retain(|tag, intervals| {
                if let Some(theirs) = theirs.get(tag) {
                    intervals.subtract(theirs);
                }
                !intervals.0.is_empty()
            });
        }
        self.sources.retain(|_, tags| !tags.is_empty());
    }

    fn entries(&self) -> impl Iterator<Item = (Uuid, &str, &Intervals)> {
        self.sources.iter().flat_map(|(uuid, tags)| tags.iter().map(|(tag, found)| (*uuid, &**tag, found)))
    }

    /// Whether any transaction has a tag, which servers before 8.3 do not understand.
    pub fn is_tagged(&self) -> bool {
        self.entries().any(|(_, tag, _)| !tag.is_empty())
    }

    /// The bytes that COM_BINLOG_DUMP_GTID carries (and PREVIOUS_GTIDS_EVENT holds): the classic form, or where there are
    /// tags the form of MySQL 8.3 and later (`encode_nsids_format` of `sql/rpl_gtid_set.cc`).
    pub fn to_wire(&self) -> Vec<u8> {
        let tagged = self.is_tagged();
        let count = self.entries().count() as u64;
        let head = if tagged { 1 << 56 | count << 8 | 1 } else { count };
        let mut out = head.to_le_bytes().to_vec();
        for (uuid, tag, intervals) in self.entries() {
            out.extend_from_slice(&uuid.0);
            if tagged {
                // The server's own variable-length integer: one byte, twice the length, as tags are at most 32 letters.
                out.push((tag.len() as u8) << 1);
                out.extend_from_slice(tag.as_bytes());
            }
            out.extend_from_slice(&(intervals.0.len() as u64).to_le_bytes());
            for &(start, end) in &intervals.0 {
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
            }
        }
        out
    }

    /// Reads the bytes of [`Self::to_wire`].
    pub fn from_wire(bytes: &[u8]) -> Result<Self, NotGtids> {
        Self::read_wire(bytes).ok_or_else(|| NotGtids("its bytes are cut off or damaged".to_owned()))
    }

    fn read_wire(mut input: &[u8]) -> Option<Self> {
        let take = |input: &mut &[u8]| take_array::<8>(input).map(u64::from_le_bytes);
        let head = take(&mut input)?;
        let (tagged, count) = match head >> 56 {
            0 => (false, head),
            1 => (true, head << 8 >> 16),
            _ => return None,
        };
        let mut set = GtidSet::default();
        for _ in 0..count {
            let uuid = Uuid(take_array(&mut input)?);
            let mut tag = "";
            if tagged {
                let length = usize::from(*input.split_off_first()?);
                if length % 2 != 0 || length / 2 > TAG_BYTES_MAX {
                    return None;
                }
                tag = std::str::from_utf8(input.split_off(..length / 2)?).ok()?;
            }
            for _ in 0..take(&mut input)? {
                let start = take(&mut input)?;
                let end = take(&mut input)?;
                if start == 0 || start >= end || end > NUMBER_END {
                    return None;
                }
                set.add_interval(uuid, tag, start, end);
            }
        }
        input.is_empty().then_some(set)
    }

    /// Appends the compact form that positions are kept in: counts, and numbers as differences.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.entries().count() as u64);
        for (uuid, tag, intervals) in self.entries() {
            out.extend_from_slice(&uuid.0);
            put_bytes(out, tag.as_bytes());
            put_u64(out, intervals.0.len() as u64);
            let mut last = 0;
            for &(start, end) in &intervals.0 {
                put_u64(out, start - last);
                put_u64(out, end - start);
                last = end;
            }
        }
    }

    /// Takes the compact form off the front of `input`; `None` when it is cut off or damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut set = GtidSet::default();
        for _ in 0..take_u64(input)? {
            let uuid = Uuid(take_array(input)?);
            let tag = take_str(input)?;
            let mut last = 0u64;
            for _ in 0..take_u64(input)? {
                let start = last.checked_add(take_u64(input)?)?;
                let end = start.checked_add(take_u64(input)?)?;
                if start == 0 || start >= end || end > NUMBER_END {
                    return None;
                }
                set.add_interval(uuid, tag, start, end);
                last = end;
            }
        }
        Some(set)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (uuid, tags)) in self.sources.iter().enumerate() {
            write!(f, "{}{uuid}", if i > 0 { "," } else { "" })?;
            for (tag, intervals) in tags {
                if !tag.is_empty() {
                    write!(f, ":{tag}")?;
                }
                for &(start, end) in &intervals.0 {
                    match end - start {
                        1 => write!(f, ":{start}")?,
                        _ => write!(f, ":{start}-{}", end - 1)?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = NotGtids;

    /// Reads what `@@gtid_executed` prints: `uuid[:tag]:1-8:10[:tag:1-2],…`, with blanks and newlines anywhere between.
    fn from_str(text: &str) -> Result<Self, NotGtids> {
        let mut set = GtidSet::default();
        for source in text.split(',').map(str::trim).filter(|source| !source.is_empty()) {
            let mut parts = source.split(':').map(str::trim);
            let uuid: Uuid = parts.next().unwrap_or_default().parse()?;
            let mut tag = String::new();
            for part in parts {
                if part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
                    tag = read_tag(part)?;
                    continue;
                }
                let (start, end) = part.split_once('-').unwrap_or((part, part));
                let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| (1..NUMBER_END).contains(n));
                let (Some(start), Some(end)) = (number(start), number(end)) else {
                    return Err(NotGtids(format!("{part:?} is not an interval of transaction numbers")));
                };
                if start <= end {
                    set.add_interval(uuid, &tag, start, end + 1);
                }
            }
        }
        Ok(set)
    }
}

fn read_tag(text: &str) -> Result<String, NotGtids> {
    let good = text.len() <= TAG_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    good.then(|| text.to_ascii_lowercase()).ok_or_else(|| NotGtids(format!("{text:?} is not a tag")))
}

impl FromStr for MariaGtid {
    type Err = NotGtids;

    fn from_str(text: &str) -> Result<Self, NotGtids> {
        let wrong = || NotGtids(format!("{text:?} is not of the form domain-server-sequence"));
        let mut parts = text.trim().split('-');
        let (Some(domain), Some(server), Some(sequence), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(MariaGtid {
            domain: domain.parse().map_err(|_| wrong())?,
            server: server.parse().map_err(|_| wrong())?,
            sequence: sequence.parse().map_err(|_| wrong())?,
        })
    }
}

/// A MariaDB GTID position: the last transaction of every domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidPos {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl GtidPos {
    /// Moves a domain to `gtid`, whatever stood there.
    pub fn set(&mut self, gtid: MariaGtid) {
        self.domains.insert(gtid.domain, (gtid.server, gtid.sequence));
    }

    /// The last transaction of each domain.
    pub fn gtids(&self) -> impl Iterator<Item = MariaGtid> {
        self.domains.iter().map(|(&domain, &(server, sequence))| MariaGtid { domain, server, sequence })
    }

    /// Whether no domain has a transaction.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Whether every domain of `other` has come at least as far here, by sequence number.
    pub fn reached(&self, other: &GtidPos) -> bool {
        other.gtids().all(|gtid| self.domains.get(&gtid.domain).is_some_and(|(_, ours)| *ours >= gtid.sequence))
    }

    /// Appends the compact form that positions are kept in.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.domains.len() as u64);
        for gtid in self.gtids() {
            put_u64(out, u64::from(gtid.domain));
            put_u64(out, u64::from(gtid.server));
            put_u64(out, gtid.sequence);
        }
    }

    /// Takes the compact form off the front of `input`; `None` when it is cut off or damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut position = GtidPos::default();
        for _ in 0..take_u64(input)? {
            let domain = u32::try_from(take_u64(input)?).ok()?;
            let server = u32::try_from(take_u64(input)?).ok()?;
            position.set(MariaGtid { domain, server, sequence: take_u64(input)? });
        }
        Some(position)
    }
}

impl fmt::Display for GtidPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gtids().enumerate().try_for_each(|(i, gtid)| write!(f, "{}{gtid}", if i > 0 { "," } else { "" }))
    }
}

impl FromStr for GtidPos {
    type Err = NotGtids;

    fn from_str(text: &str) -> Result<Self, NotGtids> {
        let mut position = GtidPos::default();
        for gtid in text.split(',').filter(|gtid| !gtid.trim().is_empty()) {
            position.set(gtid.parse()?);
        }
        Ok(position)
    }
}

#[cfg(test)]
#[path = "gtid_tests.rs"]
mod tests;

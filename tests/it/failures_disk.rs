//! A disk that is full, a folder that cannot be written, a folder that is taken: named, and the journal good afterwards.
//!
//! Invariant: the full disk is a real one, a file system of a few megabytes of its own, where mounting is permitted.

use crate::failures::{STOP_LIMIT, is, item, journal_is_good, run_ends, says, two_flavors, write_more};
use crate::world::{LIMIT, World, config, contents, expected};
use headwater_testkit::{Flavor, Headwater, say, wait_until};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

/// A file system in memory, of a size of its own; unmounted when dropped.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it at `folder`; an error says why that is not permitted.
    fn mount(folder: &Path, size: &str) -> io::Result<SmallDisk> {
        fs::create_dir_all(folder)?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder)?;
        Ok(SmallDisk { folder: folder.to_owned() })
    }

    /// Takes all its room but so many bytes; what takes it can be removed.
    fn leave(&self, bytes: u64) -> PathBuf {
        let path = self.folder.join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        let piece = vec![1; 64 << 10];
        while file.write_all(&piece).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(bytes)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failed test's Headwater may still hold its files.
        if let Err(error) = run("umount", &["-l"], &self.folder) {
            say(&format!("{} stays mounted: {error}", self.folder.display()));
        }
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> io::Result<()> {
    let output = Command::new(program).args(arguments).arg(folder).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(io::Error::other(said)) }
}

/// Seven megabytes of changes, as one transaction or as fifty.
fn fill(world: &World, transactions: u32) {
    static CALLS: AtomicU32 = AtomicU32::new(10);
    for _ in 0..transactions {
        let first = CALLS.fetch_add(1, Ordering::Relaxed) * 100_000;
        world.database().exec(&format!(
            "set @n = {first}; insert into shop.item select @n := @n + 1, 'S', 5, 1.5, repeat('x', 290), '2024-01-01'
             from information_schema.columns a, information_schema.columns b limit {}",
            20_000 / transactions
        ));
    }
}

#[test]
fn a_full_disk_is_named_waited_for_and_gone_on_from() {
    for flavor in two_flavors() {
        let mut world = World::start(flavor, &[], "");
        let disk = match SmallDisk::mount(&world.headwater.data_dir(), "64m") {
            Ok(disk) => disk,
            Err(error) => return a_full_disk_by_fail_point(flavor, &error),
        };
        let shop = config(&world.database(), &world.redis, ", transaction_bytes_max: 65536");
        world.headwater.configure(&format!("journal: {{ segment_bytes: 1MiB }}\n{shop}")).unwrap();
        world.headwater.start().unwrap();
        write_more(&world);
        world.assert_equal();
        // Into segments, and into a side segment.
        for transactions in [50, 1] {
            let ballast = disk.leave(4 << 20);
            fill(&world, transactions);
            full_while_others_go_on(&world);
            fs::remove_file(ballast).unwrap();
            all_is_well(&world);

            let ballast = disk.leave(4 << 20);
            fill(&world, transactions);
            full_while_others_go_on(&world);
            world.headwater.terminate(STOP_LIMIT).unwrap();
            journal_is_good(&world.headwater);
            for _ in 0..2 {
                starts_on_a_full_disk(&mut world.headwater);
                world.headwater.kill9();
                journal_is_good(&world.headwater);
            }
            fs::remove_file(ballast).unwrap();
            world.headwater.launch().unwrap();
            all_is_well(&world);
        }
    }
}

fn all_is_well(world: &World) {
    is(&world.headwater, "shop", "streaming");
    world.assert_equal();
    journal_is_good(&world.headwater);
}

/// It says that the disk is full; the sink has all that was read, and can even be filled anew meanwhile.
fn full_while_others_go_on(world: &World) {
    says(&world.headwater, "shop", "full", &["disk full while writing", "/data/journal/shop/", "make room"]);
    let follows = |world: &World| {
        let sink = item(&world.headwater, "cache");
        sink["state"] == "following" && sink["error"].is_null() && sink["lag_changes"] == 0
    };
    wait_until(LIMIT, "the sink to follow what was read", || follows(world))
        .unwrap_or_else(|error| panic!("{error}: {}", world.status()));
    let held = contents(&world.redis);
    world.headwater.run_ok(&["rebuild", "cache"]).unwrap();
    wait_until(LIMIT, "the sink to be filled anew", || follows(world) && contents(&world.redis) == held).unwrap();
    assert_eq!(item(&world.headwater, "shop")["state"], "full");
    journal_is_good(&world.headwater);
}

/// It waits for room again; or the start itself finds none for its few bytes, says so and ends.
fn starts_on_a_full_disk(headwater: &mut Headwater) {
    let before = headwater.log().len();
    headwater.launch().unwrap();
    wait_until(LIMIT, "a start on the full disk to say so", || {
        item(headwater, "shop")["state"] == "full" || !headwater.is_running()
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", headwater.log()));
    let said = headwater.log().split_off(before);
    assert!(said.contains("disk full while writing") && said.contains("make room"), "{said}");
}

/// Where nothing can be mounted, writes are refused as by a full disk: some now, none later.
fn a_full_disk_by_fail_point(flavor: Flavor, why: &io::Error) {
    say(&format!("no file system can be mounted ({}); a fail point stands for the full disk", why.to_string().trim()));
    if !cfg!(feature = "failpoints") {
        return headwater_testkit::skip("the full disk needs a mount, or the feature `failpoints`");
    }
    let mut world = World::start(flavor, &[], "");
    world.headwater.start().unwrap();
    world.headwater.terminate(STOP_LIMIT).unwrap();
    world.headwater.env("FAILPOINTS", "journal::disk_full=30*off->5*return->off");
    world.headwater.launch().unwrap();
    wait_until(LIMIT, "the refusals", || {
        write_more(&world);
        item(&world.headwater, "shop")["state"] == "full"
    })
    .unwrap();
    journal_is_good(&world.headwater);
    world.assert_equal();
    journal_is_good(&world.headwater);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let mut world = World::start(two_flavors().next().expect("a server"), &[], "");
    let data = world.headwater.data_dir();
    // Even root cannot write to these.
    fs::write(&data, "a file where the folder should be").unwrap();
    run_ends(&mut world.headwater, 1, &["error: ", "data/journal/shop"]);
    fs::remove_file(&data).unwrap();
    world.headwater.start().unwrap();
    write_more(&world);
    world.assert_equal();
    world.headwater.terminate(STOP_LIMIT).unwrap();
    match SmallDisk::mount(&data.with_file_name("read-only"), "256m") {
        Err(error) => {
            say(&format!("no file system can be mounted ({}); permissions stand for it", error.to_string().trim()));
            let folder = data.join("journal/shop");
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
            run_ends(&mut world.headwater, 1, &["error: ", "data/journal/shop", "ermission denied"]);
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Ok(disk) => {
            let copied = Command::new("cp")
                .args(["-a", "--sparse=always"])
                .arg(data.join("."))
                .arg(&disk.folder)
                .status()
                .unwrap();
            assert!(copied.success());
            fs::rename(&data, data.with_file_name("data-before")).unwrap();
            std::os::unix::fs::symlink(&disk.folder, &data).unwrap();
            run("mount", &["-o", "remount,ro"], &disk.folder).unwrap();
            run_ends(&mut world.headwater, 1, &["error: ", "data/journal/shop", "Read-only file system"]);
            journal_is_good(&world.headwater);
            run("mount", &["-o", "remount,rw"], &disk.folder).unwrap();
            finish(&mut world);
            fs::remove_file(&data).unwrap();
            fs::rename(data.with_file_name("data-before"), &data).unwrap();
        }
    }
    finish(&mut world);
}

/// Mended: it starts, goes on, and all is equal.
fn finish(world: &mut World) {
    journal_is_good(&world.headwater);
    world.headwater.start().unwrap();
    write_more(world);
    world.assert_equal();
    journal_is_good(&world.headwater);
    world.headwater.terminate(STOP_LIMIT).unwrap();
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_by_name_and_the_first_goes_on() {
    let mut world = World::start(two_flavors().next().expect("a server"), &[], "");
    world.headwater.start().unwrap();
    write_more(&world);
    let pid = world.headwater.pid().unwrap();
    // Another file with the same data folder and another port, as two units with a copied configuration would have.
    let text = fs::read_to_string(world.headwater.config_file()).unwrap();
    let port = headwater_testkit::free_port().unwrap();
    let text = text.replace(&format!("127.0.0.1:{} }}", world.headwater.http_port()), &format!("127.0.0.1:{port} }}"));
    let second = world.headwater.config_file().with_file_name("second.yaml");
    fs::write(&second, text).unwrap();
    let output = Command::new(crate::world::BINARY).arg("run").arg("-c").arg(&second).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for text in ["data/journal/shop", &format!("in use by process {pid}"), "stop that process"] {
        assert!(said.contains(text), "`{text}` is missing in: {said}");
    }
    write_more(&world);
    world.assert_equal();
    journal_is_good(&world.headwater);
    assert_eq!(contents(&world.redis), expected(&world.database()));
}

/// The fail points that stand for a disk that refuses an fsync or a write: both end the journal, by name, and a start goes
/// on from what is durable.
#[cfg(feature = "failpoints")]
#[test]
fn a_failed_fsync_stops_the_source_by_name_and_a_start_resumes() {
    for flavor in two_flavors() {
        let mut world = World::start(flavor, &[], "");
        world.headwater.start().unwrap();
        world.headwater.terminate(STOP_LIMIT).unwrap();
        world.headwater.env("FAILPOINTS", "journal::fsync_fails=9*off->return");
        world.headwater.launch().unwrap();
        wait_until(LIMIT, "the failed fsync to be noticed", || {
            write_more(&world);
            item(&world.headwater, "shop")["state"] == "failed"
        })
        .unwrap();
        let texts = [
            "journal stopped after a failed write or fsync",
            "/data/journal/shop/",
            "check the disk, then start again",
        ];
        says(&world.headwater, "shop", "failed", &texts);
        write_more(&world);
        // It ends with an error, but it ends.
        world.headwater.terminate(STOP_LIMIT).unwrap();
        journal_is_good(&world.headwater);
        world.headwater.env_remove("FAILPOINTS");
        finish(&mut world);
    }
}

//! What commands cannot do.

use std::io::Write;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use farm_sandbox::{Command, Exit, Mount, WORKSPACE_DIR};

use crate::support::{Bench, sh};

#[tokio::test]
async fn there_is_no_network_not_even_the_hosts_own() {
    let bench = Bench::new().await;
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("farm-sandbox-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let attempts = [
        format!("s = socket.create_connection(('127.0.0.1', {}), 3)", tcp.local_addr().unwrap().port()),
        "s = socket.create_connection(('192.0.2.1', 80), 3)".to_owned(),
        format!("s = socket.socket(socket.AF_UNIX); s.connect('\\0{name}')"),
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('192.0.2.1', 53))".to_owned(),
    ];
    let workspace = bench.workspace().await;
    for attempt in attempts {
        let command = Command::new(["python3", "-c", &format!("import socket\n{attempt}")]);
        let finished = bench.run(&command, &workspace).await;
        let text = finished.output.text();
        assert_eq!(finished.exit, Exit::Code(1), "{attempt}: {text}");
        assert!(text.contains("refused") || text.contains("unreachable"), "{attempt}: {text}");
    }
    // A loopback of its own works, for tests that need one.
    let own = "import socket\ns = socket.create_server(('localhost', 0))\nsocket.create_connection(s.getsockname(), 3)";
    assert_eq!(bench.run(&Command::new(["python3", "-c", own]), &workspace).await.exit, Exit::Code(0));
}

#[tokio::test]
async fn the_hosts_files_and_processes_are_not_there() {
    let bench = Bench::new().await;
    let secret = bench.dir.path().join("secret");
    std::fs::write(&secret, "hidden").unwrap();
    let workspace = bench.workspace().await;
    let worker = std::process::id();
    for path in [
        secret.to_str().unwrap(),
        bench.lower.to_str().unwrap(),
        "/root/.ssh",
        "/home",
        "/var",
        "/run",
        "/etc/shadow",
        "/sys",
    ] {
        let finished = bench.run(&sh(&format!("ls '{path}'")), &workspace).await;
        assert_eq!(finished.exit, Exit::Code(2), "{path}: {}", finished.output.text());
    }
    // Every variable of the worker starts with its name; cargo sets this one.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let environs = bench.ok("cat /proc/[0-9]*/environ | tr '\\0' '\\n'", &workspace).await;
    assert!(environs.contains("HOME=/tmp/home") && !environs.contains("CARGO_MANIFEST_DIR"), "{environs}");
    let finished = bench.run(&sh(&format!("kill -9 {worker}")), &workspace).await;
    assert_ne!(finished.exit, Exit::Code(0));
    let n_processes: usize = bench.ok("ls -d /proc/[0-9]* | wc -l", &workspace).await.trim().parse().unwrap();
    assert!(n_processes <= 5, "{n_processes}");
}

#[tokio::test]
async fn nothing_outside_is_writable() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;
    for path in
        ["/x", "/usr/x", "/usr/bin/x", "/etc/x", "/etc/passwd", "/etc/hosts", "/dev/x", "/work/x", "/proc/x"]
    {
        let finished = bench.run(&sh(&format!("echo x > {path}")), &workspace).await;
        assert_eq!(finished.exit, Exit::Code(2), "{path}: {}", finished.output.text());
    }
    for knob in ["kernel/core_pattern", "vm/drop_caches", "kernel/sysrq"] {
        let before = std::fs::read(format!("/proc/sys/{knob}")).unwrap_or_default();
        bench.run(&sh(&format!("echo 1 > /proc/sys/{knob}; echo 1 > /proc/sysrq-trigger")), &workspace).await;
        assert_eq!(std::fs::read(format!("/proc/sys/{knob}")).unwrap_or_default(), before, "{knob}");
    }
    for folder in ["/tmp", "/dev/shm", "$HOME", WORKSPACE_DIR, "/work/scratch"] {
        bench.ok(&format!("echo x > {folder}/x"), &workspace).await;
    }
    // What lies in memory is new for each command.
    bench
        .ok("[ ! -e /tmp/x ] && [ ! -e /dev/shm/x ] && [ ! -e ~/x ] && [ -e /work/tree/x ]", &workspace)
        .await;
}

#[tokio::test]
async fn it_is_nobody_on_the_host_and_holds_no_capability() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;
    let python =
        "import os; s = os.stat('/work/scratch'); print(s.st_uid, os.getuid(), os.getgid(), os.getgroups())";
    let finished = bench.run(&Command::new(["python3", "-c", python]), &workspace).await;
    assert!(finished.output.text().starts_with("1000 1000 1000 "), "{}", finished.output.text());
    let status = bench.ok("grep -E '^(Cap|NoNewPrivs)' /proc/self/status", &workspace).await;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert_ne!(bench.run(&sh("unshare -U true"), &workspace).await.exit, Exit::Code(0));
    assert_ne!(bench.run(&sh("unshare -m true"), &workspace).await.exit, Exit::Code(0));

    bench.ok("echo x > owned", &workspace).await;
    let owned = walk(bench.dir.path()).into_iter().find(|path| path.ends_with("owned")).unwrap();
    let uid = std::fs::metadata(owned).unwrap().uid();
    assert_eq!(uid, bench.sandbox.uid_of(1));
    assert_ne!(uid, 0);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path()),
            false => vec![entry.path()],
        })
        .collect()
}

#[tokio::test]
async fn the_environment_is_only_what_was_given() {
    let bench = Bench::new().await;
    let mut command = sh("env | sort");
    command.env = [("GIVEN", "a b\nc"), ("LANG", "C"), ("LD_PRELOAD", "/nowhere.so")]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    let finished = bench.run(&command, &bench.workspace().await).await;
    let text = finished.output.text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("ERROR: ld.so")).collect();
    assert_eq!(
        lines,
        [
            "CARGO_HOME=/tmp/home/.cargo",
            "CARGO_NET_OFFLINE=true",
            "GIVEN=a b",
            "HOME=/tmp/home",
            "LANG=C",
            "LD_PRELOAD=/nowhere.so",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "PWD=/work/tree",
            "TMPDIR=/tmp",
            "c",
        ]
    );
}

#[tokio::test]
async fn the_folder_is_always_the_same() {
    let bench = Bench::new().await;
    bench.write("a b/c", "");
    let workspace = bench.workspace().await;
    let mut command = sh("pwd; hostname; whoami");
    assert_eq!(bench.run(&command, &workspace).await.output.text(), "/work/tree\npatchfarm\npatchfarm\n");
    command.cwd = "a b/.".into();
    assert!(bench.run(&command, &workspace).await.output.text().starts_with("/work/tree/a b"));
}

#[tokio::test]
async fn no_descriptor_of_the_worker_leaks() {
    let bench = Bench::new().await;
    let secret = bench.dir.path().join("secret");
    let mut file = std::fs::File::create(&secret).unwrap();
    file.write_all(b"hidden").unwrap();
    // Without close-on-exec, as a careless library might open it.
    let leaky = rustix::io::dup(&file).unwrap();
    let finished = bench.sh("for fd in $(seq 0 99); do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true").await;
    assert_eq!(finished.output.text(), "0\n1\n2\n");
    drop(leaky);
}

#[tokio::test]
async fn limits_hold() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;

    let mut command = sh("head -c 3000000 /dev/zero > big");
    command.limits.file_bytes = 1 << 20;
    assert_ne!(bench.run(&command, &workspace).await.exit, Exit::Code(0));
    assert_eq!(workspace.read("big", 10 << 20).await.unwrap().len(), 1 << 20);

    let mut command =
        sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 30 & done; echo all");
    command.limits.processes = 12;
    let finished = bench.run(&command, &workspace).await;
    assert!(finished.output.text().contains("fork"), "{}", finished.output.text());
    assert!(!finished.output.text().contains("all"));

    let mut command = Command::new(["python3", "-c", "x = bytearray(300 << 20)"]);
    command.limits.memory_bytes = Some(200 << 20);
    assert!(bench.run(&command, &workspace).await.output.text().contains("MemoryError"));

    let mut command = sh("while :; do :; done");
    command.limits.cpu = Some(std::time::Duration::from_secs(1));
    assert_eq!(bench.run(&command, &workspace).await.exit, Exit::Signal(9));

    let mut command = sh("ulimit -n; ulimit -c; head -c 3000000 /dev/zero > /tmp/big");
    command.limits.open_files = 77;
    command.limits.tmp_bytes = 1 << 20;
    let finished = bench.run(&command, &workspace).await;
    assert!(finished.output.text().starts_with("77\n0\n"), "{}", finished.output.text());
    assert!(finished.output.text().contains("No space left"));
}

#[tokio::test]
async fn mounts_are_read_only() {
    let bench = Bench::new().await;
    let prepared = bench.dir.path().join("prepared env");
    std::fs::create_dir(&prepared).unwrap();
    std::fs::write(prepared.join("lib"), "module").unwrap();
    let mut command = sh("cat /env/lib /one; echo x > /env/lib; echo x > /env/new; echo x > /one");
    command.read_only = vec![
        Mount { host: prepared.clone(), inside: "/env".into() },
        Mount { host: prepared.join("lib"), inside: "/one".into() },
    ];
    let finished = bench.run(&command, &bench.workspace().await).await;
    assert!(finished.output.text().starts_with("modulemodule"), "{}", finished.output.text());
    assert_eq!(
        finished.output.text().matches("Read-only file system").count(),
        3,
        "{}",
        finished.output.text()
    );
    assert_eq!(std::fs::read(prepared.join("lib")).unwrap(), b"module");
}

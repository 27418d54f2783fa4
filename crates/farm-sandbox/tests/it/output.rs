//! What is read from commands and given to them.

use farm_sandbox::{Exit, SCRATCH_DIR};

use crate::support::{Bench, sh};

#[tokio::test]
async fn both_streams_arrive_in_order() {
    let bench = Bench::new().await;
    let finished = bench.sh("for i in 1 2 3; do echo out $i; echo err $i >&2; done").await;
    assert_eq!(finished.output.text(), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    assert_eq!(finished.stdout, None);
}

#[tokio::test]
async fn standard_output_can_be_had_alone() {
    let bench = Bench::new().await;
    let mut command = sh("echo '{\"ok\":1}'; echo noise >&2");
    command.capture_stdout = true;
    let finished = bench.run(&command, &bench.workspace().await).await;
    assert_eq!(finished.stdout.unwrap().text(), "{\"ok\":1}\n");
    assert!(finished.output.text().contains("noise") && finished.output.text().contains("ok"));
}

#[tokio::test]
async fn long_output_keeps_head_and_tail() {
    let bench = Bench::new().await;
    let mut command = sh("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last");
    command.limits.output_kept_bytes = 1000;
    let finished = bench.run(&command, &bench.workspace().await).await;
    assert_eq!(finished.exit, Exit::Code(0));
    assert!(finished.output.head.starts_with(b"first\nxxx"));
    assert!(finished.output.tail.ends_with(b"xxx\nlast\n"));
    assert_eq!(finished.output.head.len() + finished.output.tail.len(), 1000);
    assert_eq!(finished.output.dropped_bytes, 3_000_000 + 12 - 1000);
}

#[tokio::test]
async fn endless_output_is_ended() {
    let bench = Bench::new().await;
    for capture_stdout in [false, true] {
        let mut command = sh("yes");
        command.capture_stdout = capture_stdout;
        let finished = bench.run(&command, &bench.workspace().await).await;
        assert_eq!(finished.exit, Exit::OutputLimit);
        assert!(finished.output.dropped_bytes >= command.limits.output_kill_bytes - (1 << 20));
    }
}

#[tokio::test]
async fn input_is_what_was_given_or_nothing() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;
    let mut command = sh("wc -c");
    assert_eq!(bench.run(&command, &workspace).await.output.text().trim(), "0");
    command.stdin = Some(vec![b'x'; 300_000]);
    assert_eq!(bench.run(&command, &workspace).await.output.text().trim(), "300000");
    // Not read at all: neither a hang nor a failure.
    let mut command = sh("exit 4");
    command.stdin = Some(vec![b'x'; 300_000]);
    assert_eq!(bench.run(&command, &workspace).await.exit, Exit::Code(4));
}

#[tokio::test]
async fn scratch_is_kept_between_commands_and_is_no_change() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;
    bench
        .ok(&format!("mkdir {SCRATCH_DIR}/target && echo report > {SCRATCH_DIR}/target/r.xml"), &workspace)
        .await;
    assert_eq!(bench.ok(&format!("cat {SCRATCH_DIR}/target/r.xml"), &workspace).await, "report\n");
    assert_eq!(workspace.read_scratch("target/r.xml", 100).await.unwrap(), b"report\n");
    assert_eq!(workspace.changes().await.unwrap(), []);
}

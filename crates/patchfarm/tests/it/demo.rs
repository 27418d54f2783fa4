//! `patchfarm demo`: the whole on one machine, with the embedded broker.

use farm_testkit::program::Program;

use crate::BINARY;

#[tokio::test]
async fn fourteen_tasks_end_as_they_should() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Program::new(BINARY, home.path()).env("TMPDIR", home.path().to_str().unwrap());
    for key in ["control.grpc-listen", "control.http-listen", "metrics.listen"] {
        demo = demo.set(key, "127.0.0.1:0");
    }
    let demo = demo.run(&["demo"]).await.good();
    let rows: Vec<&str> = demo.stdout.lines().filter(|line| line.ends_with("as it should")).collect();
    assert_eq!(rows.len(), 14, "{}", demo.stdout);
    assert!(demo.stdout.contains(": approval after build1"), "{}", demo.stdout);
    assert!(demo.stderr.contains("killed worker-"), "{}", demo.stderr);
}

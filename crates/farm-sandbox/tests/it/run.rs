//! How commands run and end.

use farm_sandbox::{Exit, Tier};

use crate::support::Bench;

#[tokio::test]
async fn reports_the_exit_code_and_the_tier() {
    let bench = Bench::new().await;
    assert_eq!(bench.sandbox.tier(), Tier::Bubblewrap);
    let finished = bench.sh("echo out; echo err >&2; echo out again; exit 7").await;
    assert_eq!(finished.exit, Exit::Code(7));
    assert_eq!(finished.output.text(), "out\nerr\nout again\n");
    assert!(bench.sandbox.overlay());
}

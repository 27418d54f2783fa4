//! Changes that go back: patches that collide, builds that fail, and the end of patience.

use farm_core::reason::Reason;
use farm_core::result::{CheckReport, Verdict};
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{CheckKind, CodingTask, Expectation, Risk};

use crate::support::*;

const ITALIAN: &str = "    \"it\": \"Ciao\",\n";

/// The languages of the sample's file, with this English word and these lines more.
fn lines(english: &str, more: &str) -> String {
    format!("    \"en\": \"{english}\",\n    \"de\": \"Hallo\",\n    \"fr\": \"Bonjour\",\n{more}}}")
}

#[tokio::test]
async fn a_patch_that_collides_is_made_anew_on_top_of_those_before_it() {
    let farm = Farm::new().await;
    let b = CodingTask {
        path: Some(FILE.into()),
        scope: vec!["greet/**".into()],
        risk: Risk::Medium,
        priority: 3,
        notes: vec!["mind the tests".into()],
        ..task("b")
    };
    let change = farm.submit("c1", vec![task("a"), b.clone(), after("c", &["b"])]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    // c changes a line that only b, or what replaces it, has brought.
    farm.patch("b", &lines("Hello", ""), &lines("Howdy", ITALIAN)).await;
    farm.patch("c", "\"Ciao\"", "\"Salve\"").await;
    farm.step().await;

    let back = farm.change(&change).await;
    assert_eq!((back.state, back.round, back.integration), (ChangeState::CodePhase, 1, None));
    assert_eq!(back.notes, [format!("b collides with a in {FILE}; c1-r1 mends it")]);
    assert_eq!(farm.task("b").await.replaced_by, Some(task_id("c1-r1")));
    let so_far = farm.branch("agt/change-c1").await.unwrap();
    assert!(farm.read(&so_far).await.contains("\"Hi\""), "a's patch is there, and c's is not");
    let repair = farm.task("c1-r1").await;
    assert_eq!((repair.state, repair.round), (TaskState::Queued, 1));
    let said = repair.task;
    let inherits = |task: &CodingTask| {
        (task.goal.clone(), task.path.clone(), task.scope.clone(), task.risk, task.priority)
    };
    assert_eq!(inherits(&said), inherits(&b));
    assert_eq!(said.base, Some(so_far.clone()));
    assert_eq!(said.notes[0], "mind the tests");
    assert!(said.notes[1].contains(&format!("b collides with a in {FILE}")), "{:?}", said.notes);

    farm.step().await;
    assert_eq!(farm.change(&change).await.round, 1, "the repair has not ended");
    farm.patch("c1-r1", &lines("Hi", ""), &lines("Hi and howdy", ITALIAN)).await;
    farm.step().await;
    let built = farm.change(&change).await;
    assert_eq!(built.state, ChangeState::Build1, "{:?}", built.notes);
    let integration = built.integration.unwrap();
    assert_eq!((integration.base, integration.old), (farm.tip.clone(), Some(so_far)));
    let whole = lines("Hi and howdy", &ITALIAN.replace("Ciao", "Salve"));
    let all = farm.read(&farm.tip).await.replace(&lines("Hello", ""), &whole);
    assert_eq!(
        farm.read(&integration.commit).await,
        all,
        "c was built on b, and goes on top of what replaced it"
    );
    assert_eq!(farm.task("c1-build1-1").await.task.base, Some(integration.commit));
    assert!(farm.control.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_build_whose_checks_fail_is_mended_by_one_more_task() {
    let farm = Farm::new().await;
    let narrow = |id: &str, glob: &str| CodingTask { scope: vec![glob.into()], ..task(id) };
    let change = farm.submit("c1", vec![narrow("a", "greet/**"), narrow("b", "**/*.py")]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.patch("b", "{name}!", "{name}.").await;
    farm.step().await;
    let built = farm.change(&change).await.integration.unwrap().commit;
    let run = farm.run("c1-build1-0").await;
    let mut red = ended(&run, Reason::ChecksFailed, &["one check is red"]);
    let check = |name: &str, verdict, output: String| CheckReport {
        name: name.into(),
        kind: CheckKind::Test,
        expect: Expectation::NoWorse,
        verdict,
        exit_code: Some(1),
        duration_ms: 1,
        tests: None,
        new_failures: vec![format!("test_{name}")],
        output,
        found_in: "task".into(),
    };
    let long = format!("{}AssertionError: Hi", "x".repeat(100_000));
    red.checks =
        vec![check("unit", Verdict::Fail, long), check("style", Verdict::Pass, "all is well".into())];
    farm.complete(&run, &red).await;
    farm.step().await;

    let back = farm.change(&change).await;
    assert_eq!((back.state, back.round, back.integration), (ChangeState::CodePhase, 1, None));
    assert_eq!(farm.open_tasks(&change).await, ["c1-r1"]);
    let repair = farm.task("c1-r1").await.task;
    assert_eq!(repair.goal, "make the checks of this change pass: greet better");
    assert_eq!((repair.base.as_ref(), &repair.change), (Some(&built), &Some(change.clone())));
    assert_eq!(repair.scope, ["**/*.py", "greet/**"], "no more than those that it mends");
    let notes = repair.notes.join("\n");
    for said in ["tests_failed", "one check is red", "test_unit", "AssertionError: Hi"] {
        assert!(notes.contains(said), "{said:?} is not in {} bytes", notes.len());
    }
    assert!(!notes.contains("style") && notes.len() < 10_000, "{} bytes", notes.len());

    farm.patch("c1-r1", "\"Hi\"", "\"Hello there\"").await;
    farm.step().await;
    let integration = farm.change(&change).await.integration.unwrap();
    let all =
        farm.read(&farm.tip).await.replace("\"Hello\"", "\"Hello there\"").replace("{name}!", "{name}.");
    assert_eq!(farm.read(&integration.commit).await, all);
    farm.end("c1-build1-1", Reason::Ok, &[]).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::Approval);
    let gates = &farm.control.metrics.gates;
    let counted = ["pass", "fail"].map(|outcome| gates.with_label_values(&["build1", outcome]).get());
    assert_eq!(counted, [1, 1]);
}

#[tokio::test]
async fn after_the_last_round_the_change_fails_with_all_that_was_said() {
    let mut farm = Farm::new().await;
    farm.control.settings.max_rounds = 1;
    let colliding = farm.submit("c1", vec![task("a"), task("b")]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.patch("b", "\"Hello\"", "\"Howdy\"").await;
    farm.step().await;
    farm.patch("c1-r1", "\"Hi\"", "\"Hi and howdy\"").await;
    farm.step().await;
    farm.end("c1-build1-1", Reason::ChecksFailed, &["red"]).await;
    farm.step().await;
    let failed = farm.change(&colliding).await;
    assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::ChecksFailed)));
    assert_eq!(failed.notes, [&format!("b collides with a in {FILE}; c1-r1 mends it"), "red"]);

    farm.control.settings.max_rounds = 0;
    let colliding = farm.submit("c2", vec![task("d"), task("e")]).await;
    farm.patch("d", "\"Hello\"", "\"Hi\"").await;
    farm.patch("e", "\"Hello\"", "\"Howdy\"").await;
    farm.step().await;
    let failed = farm.change(&colliding).await;
    assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::PatchRefused)));
    assert_eq!(failed.notes, [format!("e collides with d in {FILE}")]);
    assert_eq!(farm.branch("agt/change-c2").await, None, "nothing is pushed for nobody");
}

#[tokio::test]
async fn what_no_patch_can_mend_is_not_tried_again() {
    let farm = Farm::new().await;
    for (n, reason) in
        [Reason::Cancelled, Reason::SandboxUnavailable, Reason::NoChecks].into_iter().enumerate()
    {
        let (id, name) = (format!("c{n}"), format!("t{n}"));
        let change = farm.submit(&id, vec![task(&name)]).await;
        farm.patch(&name, "\"Hello\"", "\"Hi\"").await;
        farm.step().await;
        farm.end(&format!("{id}-build1-0"), reason, &["no"]).await;
        farm.step().await;
        let failed = farm.change(&change).await;
        assert_eq!((failed.state, failed.reason, failed.round), (ChangeState::Failed, Some(reason), 0));
    }
}

#[tokio::test]
async fn a_change_that_took_the_id_of_a_task_of_the_farm_fails_and_does_not_wait_for_ever() {
    let farm = Farm::new().await;
    let repair = farm.submit("c1", vec![task("a"), task("b"), task("c1-r1")]).await;
    let build = farm.submit("c2", vec![task("c2-build1-0")]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.patch("b", "\"Hello\"", "\"Howdy\"").await;
    farm.patch("c1-r1", "\"Hallo\"", "\"Servus\"").await;
    farm.patch("c2-build1-0", "\"Hello\"", "\"Hi\"").await;
    farm.step().await;
    for (change, id) in [(repair, "c1-r1"), (build, "c2-build1-0")] {
        let failed = farm.change(&change).await;
        assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::TaskInvalid)), "{id}");
        assert!(
            failed.notes.last().unwrap().contains(&format!("task id {id} is taken")),
            "{:?}",
            failed.notes
        );
    }
}

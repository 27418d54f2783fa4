//! Leases on files: of runs, and reserved ones.

use farm_core::reason::Reason;
use farm_store::{Began, GivenBack, Reserved};

use crate::support::*;

#[tokio::test]
async fn two_tasks_on_one_file_go_one_after_the_other() {
    let farm = Farm::new().await;
    let (first, second) = (on_path("a", "src/lib.rs"), on_path("b", "SRC/lib.rs"));
    farm.accept(&[first.clone(), second.clone()], T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["a"]);
    let run = farm.run(&first, "r1", T0).await;
    assert_eq!(farm.begin(&second, "r2", T0).await, Began::Deferred);
    assert_eq!(names(&farm.offer(T0).await), Vec::<String>::new());
    farm.succeed(&run, T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["b"]);
    farm.run(&second, "r3", T0).await;
}

#[tokio::test]
async fn a_file_is_free_again_however_its_run_ends() {
    let farm = Farm::new().await;
    let holder = on_path("a", "f");
    let waiting = on_path("b", "f");
    let run = farm.run(&holder, "r1", T0).await;
    assert_eq!(farm.begin(&waiting, "r2", T0).await, Began::Deferred);
    farm.give_back(&run, 1_000, T0).await;
    let other = farm.run(&waiting, "r3", T0).await;
    farm.give_back(&other, 3_600_000, T0).await;
    let run = farm.run(&holder, "r4", T0 + 1_000).await;
    farm.store.sweep(T0 + 1_000 + LEASE).await.unwrap();
    assert_eq!(farm.store.leases(None, T0 + 1_000).await.unwrap(), []);
    assert!(run.token > other.token);
}

#[tokio::test]
async fn a_push_needs_every_touched_file() {
    let farm = Farm::new().await;
    let (one, two) = (farm.run(&task("a"), "r1", T0).await, farm.run(&task("b"), "r2", T0).await);
    let (prepare, result) = prepared(&one, '1', &["x", "y"]);
    farm.store.prepare(&prepare, &result, T0).await.unwrap().unwrap();
    let (clash, result) = prepared(&two, '2', &["z", "Y"]);
    let denied = farm.store.prepare(&clash, &result, T0).await.unwrap().unwrap_err();
    assert_eq!(denied.reason, Reason::LeaseConflict);
    // All or nothing: `z` was not taken along.
    let held: Vec<String> =
        farm.store.leases(Some(&repo()), T0).await.unwrap().into_iter().map(|h| h.lease.key.path).collect();
    assert_eq!(held, ["x", "y"]);
    farm.complete(&one, &prepare.result, T0).await.unwrap();
    farm.store.prepare(&clash, &result, T0).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_leases_of_a_run_last_as_long_as_it_does() {
    let farm = Farm::new().await;
    let run = farm.run(&on_path("a", "f"), "r1", T0).await;
    farm.prepare(&run, '1', T0 + 1_000).await.unwrap();
    let ends = |leases: Vec<farm_store::HeldLease>| -> Vec<u64> {
        leases.iter().map(|held| held.lease.until_ms).collect()
    };
    assert_eq!(ends(farm.store.leases(None, T0 + 1_000).await.unwrap()), [T0 + LEASE, T0 + LEASE]);
    farm.store.heartbeat(&run_ref(&run), nothing(), T0 + 2_000).await.unwrap();
    let renewed = T0 + 2_000 + LEASE;
    assert_eq!(ends(farm.store.leases(None, T0 + 2_000).await.unwrap()), [renewed, renewed]);
    assert_eq!(farm.view("a").await.lease_until_ms, renewed);
}

#[tokio::test]
async fn reservations_are_all_or_nothing_and_idempotent() {
    let farm = Farm::new().await;
    let reserve = async |request: &str, paths: &[&str], task: &str, now| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        farm.store.reserve(request, &repo(), paths, &id(task), now).await.unwrap()
    };
    let Reserved::Given(first) = reserve("q1", &["a", "b"], "t1", T0).await else { panic!("not given") };
    assert_eq!(first.len(), 2);
    assert_eq!(reserve("q1", &["a", "b"], "t1", T0 + 10).await, Reserved::Given(first.clone()));
    match reserve("q2", &["c", "B"], "t2", T0).await {
        Reserved::Conflict(held) => assert_eq!(held.lease.holder, id("t1")),
        given => panic!("{given:?}"),
    }
    assert_eq!(farm.store.leases(None, T0).await.unwrap().len(), 2);
    let ids: Vec<String> = first.iter().map(|held| held.id.clone()).collect();
    let renewed = farm.store.renew(vec![ids[0].clone(), "nonsense".into()], T0 + 1_000).await.unwrap();
    assert_eq!(renewed.leases[0].lease.until_ms, T0 + 1_000 + LEASE);
    assert_eq!(renewed.lost, ["nonsense"]);
    farm.store.claim(&ids[0], &oid('1'), T0 + 1_000).await.unwrap().unwrap();
    assert_eq!(farm.store.leases(None, T0).await.unwrap()[0].commit, Some(oid('1')));
    // The second one ended; it is another's now, and the old name is worth nothing.
    let Reserved::Given(taken) = reserve("q3", &["b"], "t2", T0 + LEASE).await else { panic!("not given") };
    assert_ne!(taken[0].id, ids[1]);
    assert!(taken[0].lease.token > first[1].lease.token);
    let lost = farm.store.claim(&ids[1], &oid('1'), T0 + LEASE).await.unwrap().unwrap_err();
    assert_eq!(lost.reason, Reason::LeaseLost);
    farm.store.release(ids).await.unwrap();
    assert_eq!(farm.store.leases(None, T0 + LEASE).await.unwrap(), taken);
}

#[tokio::test]
async fn what_was_reserved_for_a_task_is_its_runs() {
    let farm = Farm::new().await;
    farm.store.reserve("q1", &repo(), vec!["f".into(), "g".into()], &id("a"), T0).await.unwrap();
    assert_eq!(farm.begin(&on_path("b", "f"), "r1", T0).await, Began::Deferred);
    let run = farm.run(&on_path("a", "f"), "r2", T0 + 5).await;
    let leases = farm.store.leases(None, T0 + 5).await.unwrap();
    assert!(leases.iter().all(|held| held.lease.token == run.token && held.lease.until_ms == T0 + 5 + LEASE));
    assert_eq!(leases.len(), 2);
    farm.succeed(&run, T0 + 5).await;
    assert_eq!(farm.store.leases(None, T0 + 5).await.unwrap(), []);
    assert_eq!(farm.give_back(&run, 0, T0 + 5).await, GivenBack::Stale);
}

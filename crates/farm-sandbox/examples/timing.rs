#![allow(clippy::unwrap_used, clippy::print_stdout)]
use farm_sandbox::*;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
fn med(mut v: Vec<f64>) -> String {
    v.sort_by(f64::total_cmp);
    format!("median {:.1} p90 {:.1} min {:.1}", v[v.len() / 2], v[v.len() * 9 / 10], v[0])
}
#[tokio::main]
async fn main() {
    let dir = tempfile::TempDir::new().unwrap();
    let lower = dir.path().join("lower");
    for d in 0..100 {
        std::fs::create_dir_all(lower.join(format!("d{d}"))).unwrap();
        for f in 0..48 {
            std::fs::write(lower.join(format!("d{d}/f{f}")), vec![b'x'; 4000]).unwrap();
        }
    }
    let ballast = vec![1u8; 200 << 20];
    for overlay in [true, false] {
        let t = Instant::now();
        let sandbox =
            Sandbox::probe(Settings { overlay, ..Settings::new(dir.path().join("w")) }).await.unwrap();
        println!("overlay {} probe {:.1} ms", sandbox.overlay(), t.elapsed().as_secs_f64() * 1e3);
        let (mut create, mut run, mut changes, mut remove, mut put) =
            (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..if overlay { 60 } else { 8 } {
            let t = Instant::now();
            let w = Workspace::create(&sandbox, &lower, 1).await.unwrap();
            create.push(t.elapsed().as_secs_f64() * 1e3);
            let t = Instant::now();
            w.put("d1/f1", b"new".to_vec(), 0o644).await.unwrap();
            put.push(t.elapsed().as_secs_f64() * 1e3);
            for _ in 0..3 {
                let t = Instant::now();
                let f = sandbox.run(&Command::new(["true"]), &w, &CancellationToken::new()).await.unwrap();
                assert!(f.exit.success());
                run.push(t.elapsed().as_secs_f64() * 1e3);
            }
            let t = Instant::now();
            assert_eq!(w.changes().await.unwrap().len(), 1);
            changes.push(t.elapsed().as_secs_f64() * 1e3);
            let t = Instant::now();
            w.remove().await.unwrap();
            remove.push(t.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            " create {}\n put {}\n run true {}\n changes {}\n remove {}",
            med(create),
            med(put),
            med(run),
            med(changes),
            med(remove)
        );
    }
    let mut plain = vec![];
    for _ in 0..100 {
        let t = Instant::now();
        tokio::process::Command::new("true").status().await.unwrap();
        plain.push(t.elapsed().as_secs_f64() * 1e3);
    }
    println!("plain spawn {}", med(plain));
    println!("{}", ballast.len());
}

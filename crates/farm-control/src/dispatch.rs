//! Offers tasks on Kafka: a bounded window, by priority, fair between changes. Order is the store's; the topic is a bell.

use std::sync::Arc;
use std::time::Duration;

use farm_store::Window;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control::Control;

/// How long nothing may change before offers are looked at all the same: some are due by the clock alone.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until told to stop.
pub async fn run(control: Arc<Control>, partitions: u32, stop: CancellationToken) {
    let window =
        Window { partitions, records: control.settings.window_records, bytes: control.settings.window_bytes };
    let mut commits = control.store.commits();
    loop {
        offer(&control, window).await;
        // What offering itself has written is no reason to look again.
        commits.mark_unchanged();
        tokio::select! {
            () = stop.cancelled() => return,
            // The store is closed.
            changed = commits.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn offer(control: &Arc<Control>, window: Window) {
    loop {
        let offers = match control.store.offer(window, control.now_ms()).await {
            Ok(offers) if offers.is_empty() => return,
            Ok(offers) => offers,
            Err(error) => {
                tracing::error!(%error, "nothing is offered while the store does not answer");
                return;
            }
        };
        let mut sends = JoinSet::new();
        for offer in offers {
            let control = Arc::clone(control);
            sends.spawn(async move {
                // An offer that is lost is made again: the row says that it was not begun.
                if let Err(error) = control.publisher.task(&offer.task, offer.record, offer.partition).await {
                    tracing::warn!(task = %offer.task, %error, "not offered; it will be, later");
                }
            });
        }
        sends.join_all().await;
    }
}

//! The one thread that forks.
//!
//! A child that asks to die with its parent dies with the *thread* that made it. Threads of an async runtime come and
//! go, so children are made by a thread that lives as long as the sandbox.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::child::Step;

type Job = Box<dyn FnOnce() + Send>;

/// Why a program did not start.
#[derive(Debug)]
pub(crate) struct Unstarted {
    /// What failed between fork and exec; without it, fork or exec itself.
    pub(crate) step: Option<&'static str>,
    pub(crate) source: std::io::Error,
}

impl From<std::io::Error> for Unstarted {
    fn from(source: std::io::Error) -> Unstarted {
        Unstarted { step: None, source }
    }
}

/// A handle on the forking thread, which ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    pub(crate) fn start() -> std::io::Result<Spawner> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("sandbox-fork".into()).spawn(move || {
            for job in queue {
                job();
            }
        })?;
        Ok(Spawner { jobs })
    }

    /// Starts `program` after the child took `steps`.
    pub(crate) async fn spawn(&self, mut program: Command, steps: Vec<Step>) -> Result<Child, Unstarted> {
        let (answer, answered) = oneshot::channel();
        let runtime = Handle::current();
        let job = Box::new(move || {
            let _entered = runtime.enter();
            // A caller that is gone drops the child here, which kills it.
            drop(answer.send(spawn_here(&mut program, steps)));
        });
        let gone = || std::io::Error::other("the forking thread has ended");
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn spawn_here(program: &mut Command, steps: Vec<Step>) -> Result<Child, Unstarted> {
    let (mut failed_step, report) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(failed_step.as_fd(), true).map_err(std::io::Error::from)?;

    let steps = Arc::new(steps);
    let for_child = Arc::clone(&steps);
    // SAFETY: `take` and `write` are async-signal-safe; the closure allocates nothing.
    unsafe {
        program.pre_exec(move || {
            for (step_idx, step) in for_child.iter().enumerate() {
                if let Err(errno) = step.take() {
                    let number = step_idx.to_ne_bytes();
                    libc::write(report.as_raw_fd(), number.as_ptr().cast(), number.len());
                    return Err(errno.into());
                }
            }
            Ok(())
        });
    }
    program.kill_on_drop(true);
    program.spawn().map_err(|source| {
        let mut number = [0; size_of::<usize>()];
        let step = match failed_step.read_exact(&mut number) {
            Ok(()) => steps.get(usize::from_ne_bytes(number)).map(Step::name),
            // Nothing was written: no step failed.
            Err(_) => None,
        };
        Unstarted { step, source }
    })
}

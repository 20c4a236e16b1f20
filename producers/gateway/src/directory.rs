//! Which topics events of users may go to, with the forms of their schemas.
//!
//! A topic is known once the log has it and the registry its subject. What is known is asked for again when a request comes and
//! the last answer is older than [`FRESH`], and is taken as it is when no answer comes in [`RENEW_WAIT`]: so a new version of a
//! schema holds within seconds, and with log or registry away the gateway goes on with the topics that it knows, also after a
//! start, since they are kept in the spool's directory.
//!
//! Limits: [`KNOWN_MAX`] topics and [`TEXT_MAX`] bytes of schemas, those not used for longest are forgotten; [`ASKING_MAX`] topics
//! asked for at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidemark_log::Log;
use tidemark_schemas::near;
use tidemark_schemas::registry::{Latest, Registry};
use tidemark_spool::disk::Disk;
use tokio::sync::watch;

use crate::FLOWS_TOPIC;
use crate::form::Form;
use crate::known;
use crate::problem::{Kind, Problem};
use crate::rule::shown;
use crate::topic;

/// Most topics known.
const KNOWN_MAX: usize = 256;
/// Most bytes of their schemas.
const TEXT_MAX: usize = 8 << 20;
/// How long an answer of log and registry holds, also that there is no such topic.
const FRESH: Duration = Duration::from_secs(2);
/// How long a request waits for the answer about a topic that is known.
const RENEW_WAIT: Duration = Duration::from_millis(500);
/// How long a request waits for the answer about another one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Most topics asked for at a time.
const ASKING_MAX: usize = 32;
/// Most answers kept about topics that there are not.
const ABSENT_MAX: usize = 1_024;

/// The topics that are known.
pub(crate) struct Directory {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    /// Held while what is known is written to disk.
    saving: Mutex<()>,
}

#[derive(Default)]
struct State {
    known: HashMap<Arc<str>, Known>,
    absent: HashMap<String, (Instant, Problem)>,
    asking: HashMap<String, (Instant, watch::Receiver<()>)>,
}

struct Known {
    form: Arc<Form>,
    /// When log and registry were last asked, whatever came of it.
    asked: Option<Instant>,
    used: Instant,
}

/// What log and registry say of a topic.
enum Found {
    Form(Arc<Form>),
    /// There is no such topic, or none that takes events.
    Absent(Problem),
    /// They did not answer.
    Unknown(String),
}

impl Directory {
    /// With the topics that were known before, if the disk has them.
    pub(crate) fn open(log: Arc<dyn Log>, registry: Arc<dyn Registry>, disk: Arc<dyn Disk>) -> Self {
        let now = Instant::now();
        let known = known::load(&*disk)
            .into_iter()
            .map(|form| (Arc::clone(&form.topic), Known { form: Arc::new(form), asked: None, used: now }));
        let state = State { known: known.collect(), ..State::default() };
        Self { log, registry, disk, state: Mutex::new(state), saving: Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the maps whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The form of a topic's events; waits for log and registry if it has to.
    pub(crate) async fn find(self: &Arc<Self>, name: &str) -> Result<Arc<Form>, Problem> {
        topic::refuse_reserved(name)?;
        topic::refuse_unsound(name).map_err(|problem| Problem::new(Kind::UnknownEventType, problem.detail))?;
        let (until, mut answered) = match self.begin(name)? {
            Begun::Done(form) => return Ok(form),
            Begun::Wait(until, answered) => (until, answered),
        };
        // An error says that the answer is there: its sender is gone.
        let _ = tokio::time::timeout_at(until.into(), answered.changed()).await;
        let mut state = self.state();
        if let Some(known) = state.known.get_mut(name) {
            known.used = Instant::now();
            return Ok(Arc::clone(&known.form));
        }
        match state.absent.get(name) {
            Some((_, problem)) => Err(problem.clone()),
            None => Err(unanswered(name, "the log or the schema registry did not answer in time")),
        }
    }

    /// Looks the topic up, and asks for it where what is known is too old.
    fn begin(self: &Arc<Self>, name: &str) -> Result<Begun, Problem> {
        let mut state = self.state();
        let now = Instant::now();
        let form = state.known.get_mut(name).map(|known| {
            known.used = now;
            (Arc::clone(&known.form), known.asked.is_some_and(|asked| now.duration_since(asked) < FRESH))
        });
        let form = match form {
            Some((form, true)) => return Ok(Begun::Done(form)),
            form => form.map(|(form, _)| form),
        };
        if form.is_none()
            && let Some((asked, problem)) = state.absent.get(name)
            && now.duration_since(*asked) < FRESH
        {
            return Err(problem.clone());
        }
        let wait = if form.is_some() { RENEW_WAIT } else { FIRST_WAIT };
        if let Some((began, answered)) = state.asking.get(name) {
            return Ok(match form {
                Some(form) if began.elapsed() > wait => Begun::Done(form),
                _ => Begun::Wait(*began + wait, answered.clone()),
            });
        }
        if state.asking.len() >= ASKING_MAX {
            return form.map(Begun::Done).ok_or_else(|| crate::body::overloaded("look-ups of topics"));
        }
        let (done, answered) = watch::channel(());
        state.asking.insert(name.to_owned(), (now, answered.clone()));
        let asked = Asked { directory: Arc::clone(self), name: name.to_owned(), _done: done };
        drop(tokio::task::spawn_blocking(move || asked.directory.renew(&asked.name)));
        Ok(Begun::Wait(now + wait, answered))
    }

    /// Asks for a topic and keeps the answer. Blocks.
    pub(crate) fn renew(&self, name: &str) {
        let known = self.state().known.get(name).map(|known| Arc::clone(&known.form));
        let found = self.ask(name, known.as_ref());
        let changed = self.learn(name, found);
        if changed {
            self.save();
        }
    }

    fn ask(&self, name: &str, known: Option<&Arc<Form>>) -> Found {
        let there = match self.log.partitions(name) {
            Ok(there) => there.is_some(),
            Err(error) => return Found::Unknown(format!("the log does not answer: {error}")),
        };
        if !there {
            return Found::Absent(self.no_topic(name));
        }
        match self.registry.latest_of(&topic::subject(name)) {
            Ok(None) => Found::Absent(no_schema(name)),
            Ok(Some(latest)) => formed(name, &latest, known),
            Err(tidemark_schemas::registry::Error::Unavailable(why)) => {
                Found::Unknown(format!("the schema registry does not answer: {why}"))
            }
            Err(error) => Found::Absent(unusable(name, &error.to_string())),
        }
    }

    /// Keeps an answer; says whether what is known has changed.
    fn learn(&self, name: &str, found: Found) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.absent.remove(name);
        match found {
            Found::Form(form) => {
                let before = state.known.get(name).map(|known| Arc::clone(&known.form));
                let used = state.known.get(name).map_or(now, |known| known.used);
                let same = before.is_some_and(|before| Arc::ptr_eq(&before, &form));
                state.known.insert(Arc::clone(&form.topic), Known { form, asked: Some(now), used });
                state.forget();
                !same
            }
            Found::Absent(problem) => {
                state.keep_absent(name, now, problem);
                state.known.remove(name).is_some()
            }
            Found::Unknown(why) => {
                match state.known.get_mut(name) {
                    Some(known) => {
                        known.asked = Some(now);
                        tracing::debug!(topic = name, why, "goes on with what is known of the topic");
                    }
                    None => state.keep_absent(name, now, unanswered(name, &why)),
                }
                false
            }
        }
    }

    fn save(&self) {
        let _one = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let forms: Vec<Arc<Form>> = self.state().known.values().map(|known| Arc::clone(&known.form)).collect();
        if let Err(error) = known::save(&*self.disk, &forms) {
            tracing::warn!(%error, "topics that are known cannot be kept for a start without log or registry");
        }
    }

    fn no_topic(&self, name: &str) -> Problem {
        let subjects = self.registry.subject_names().unwrap_or_default();
        let topics = subjects.iter().filter_map(|subject| topic::of_subject(subject)).chain([FLOWS_TOPIC]);
        let hint = near::hint(name, topics);
        let detail = format!(
            "there is no topic {:?}; {hint}make it with: tidemark topics create {} --schema FILE.avsc (or PUT /v1/topics/{})",
            shown(name),
            shown(name),
            shown(name)
        );
        Problem::new(Kind::UnknownEventType, detail)
    }
}

/// A topic that is asked for; whatever ends the asking, those who wait are told and it can be asked for again.
struct Asked {
    directory: Arc<Directory>,
    name: String,
    _done: watch::Sender<()>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.directory.state().asking.remove(&self.name);
    }
}

enum Begun {
    Done(Arc<Form>),
    Wait(Instant, watch::Receiver<()>),
}

impl State {
    fn keep_absent(&mut self, name: &str, now: Instant, problem: Problem) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.retain(|_, (asked, _)| now.duration_since(*asked) < FRESH);
        }
        if self.absent.len() < ABSENT_MAX {
            self.absent.insert(name.to_owned(), (now, problem));
        }
    }

    /// Down to the limits.
    fn forget(&mut self) {
        let over = |known: &HashMap<Arc<str>, Known>| {
            known.len() > KNOWN_MAX || known.values().map(|known| known.form.text.len()).sum::<usize>() > TEXT_MAX
        };
        while over(&self.known) {
            let oldest = self.known.values().min_by_key(|known| known.used).map(|known| Arc::clone(&known.form.topic));
            let Some(oldest) = oldest else { break };
            self.known.remove(&oldest);
        }
    }
}

fn formed(name: &str, latest: &Latest, known: Option<&Arc<Form>>) -> Found {
    if let Some(known) = known.filter(|known| known.schema_id == latest.id && known.version == latest.version) {
        return Found::Form(Arc::clone(known));
    }
    match Form::compile(name, latest.id, latest.version, &latest.schema) {
        Ok(form) => Found::Form(Arc::new(form)),
        Err(why) => Found::Absent(unusable(name, &why)),
    }
}

fn no_schema(name: &str) -> Problem {
    let detail = format!(
        "the topic {} has no schema in the registry (subject {}); register one with: tidemark topics create {0} --schema FILE.avsc",
        shown(name),
        shown(&topic::subject(name))
    );
    Problem::new(Kind::UnknownEventType, detail)
}

fn unusable(name: &str, why: &str) -> Problem {
    let detail = format!(
        "the schema of the topic {} (subject {}, latest version) cannot be that of events: {why}; register another version",
        shown(name),
        shown(&topic::subject(name))
    );
    Problem::new(Kind::UnknownEventType, detail)
}

fn unanswered(name: &str, why: &str) -> Problem {
    let detail = format!(
        "it cannot be said whether there is a topic {:?}: {why}; nothing was accepted, try again after Retry-After seconds",
        shown(name)
    );
    Problem::new(Kind::NotReady, detail)
}

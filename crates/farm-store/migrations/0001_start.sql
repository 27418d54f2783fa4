-- One row: which store this is, who may write it, and the last fencing token that it gave out.
CREATE TABLE store (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT    NOT NULL,
    epoch      BIGINT  NOT NULL,
    last_token BIGINT  NOT NULL,
    created_ms BIGINT  NOT NULL
);

CREATE TABLE ledger (
    seq     BIGINT PRIMARY KEY,
    at_ms   BIGINT NOT NULL,
    event   TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    actor   TEXT   NOT NULL,
    body    TEXT   NOT NULL,
    prev    TEXT   NOT NULL,
    hash    TEXT   NOT NULL
);
CREATE INDEX ledger_subject ON ledger (subject, seq);

CREATE TABLE repositories (
    name       TEXT   PRIMARY KEY,
    document   TEXT   NOT NULL,
    changed_ms BIGINT NOT NULL
);

-- `seq` is the ledger's number of the acceptance: it orders rows for ever, whatever the clock does.
CREATE TABLE changes (
    id          TEXT    PRIMARY KEY,
    seq         BIGINT  NOT NULL UNIQUE,
    repository  TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    goal        TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    risk        TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    request     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT,
    notes       TEXT    NOT NULL DEFAULT '[]',
    round       INTEGER NOT NULL DEFAULT 0,
    integration TEXT,
    created_ms  BIGINT  NOT NULL,
    changed_ms  BIGINT  NOT NULL
);
CREATE INDEX changes_state ON changes (state, seq);

-- What is read and written often. A task's texts stand in `task_bodies` and `results`.
CREATE TABLE tasks (
    id             TEXT    PRIMARY KEY,
    seq            BIGINT  NOT NULL UNIQUE,
    digest         TEXT    NOT NULL,
    change_id      TEXT,
    round          INTEGER NOT NULL DEFAULT 0,
    repository     TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    -- The key of the file that it is about, as leases spell it.
    path           TEXT,
    bytes          BIGINT  NOT NULL,
    state          TEXT    NOT NULL,
    created_ms     BIGINT  NOT NULL,

    -- Its turn: larger priority first, then smaller rank.
    priority       INTEGER NOT NULL,
    rank           BIGINT  NOT NULL,
    waiting_for    INTEGER NOT NULL,
    -- It does not run before; 0 if it need not wait for a time.
    due_ms         BIGINT  NOT NULL,
    -- Until when a record of it may be on the topic: it is not offered before, and fills the window of `partition`.
    offer_ms       BIGINT  NOT NULL,
    partition      INTEGER NOT NULL DEFAULT -1,
    offers         INTEGER NOT NULL DEFAULT 0,

    -- Its run.
    runs           INTEGER NOT NULL DEFAULT 0,
    token          BIGINT  NOT NULL DEFAULT 0,
    worker         TEXT    NOT NULL DEFAULT '',
    begin_request  TEXT    NOT NULL DEFAULT '',
    lease_until_ms BIGINT  NOT NULL DEFAULT 0,
    begun_ms       BIGINT  NOT NULL DEFAULT 0,
    first_begin_ms BIGINT  NOT NULL DEFAULT 0,
    base           TEXT,
    -- Why the last run ended without a result.
    setback        TEXT    NOT NULL DEFAULT '',

    -- `charged` is what ended runs cost, `grant` what this one may cost, `spent` what it told of last.
    budget_tokens  BIGINT  NOT NULL,
    budget_cost    BIGINT  NOT NULL,
    charged_tokens BIGINT  NOT NULL DEFAULT 0,
    charged_cost   BIGINT  NOT NULL DEFAULT 0,
    grant_tokens   BIGINT  NOT NULL DEFAULT 0,
    grant_cost     BIGINT  NOT NULL DEFAULT 0,
    spent_tokens   BIGINT  NOT NULL DEFAULT 0,
    spent_cost     BIGINT  NOT NULL DEFAULT 0,

    -- Its end.
    status         TEXT,
    reason         TEXT,
    done_ms        BIGINT  NOT NULL DEFAULT 0,
    publish_due_ms BIGINT  NOT NULL DEFAULT 0,
    published_ms   BIGINT  NOT NULL DEFAULT 0,
    -- From when its branch must go; 0 if it may stay.
    cleanup_ms     BIGINT  NOT NULL DEFAULT 0,
    replaced_by    TEXT
);
-- No index begins with `state`: almost all rows are done, and the planner would take it for a better way to the few others.
CREATE INDEX tasks_queued ON tasks (seq) WHERE state = 'queued';
CREATE INDEX tasks_running ON tasks (seq) WHERE state = 'running';
CREATE INDEX tasks_change ON tasks (change_id, seq);
CREATE INDEX tasks_turn ON tasks (priority DESC, rank, seq, offer_ms) WHERE state = 'queued' AND waiting_for = 0;
CREATE INDEX tasks_window ON tasks (partition, offer_ms, bytes) WHERE state = 'queued' AND partition >= 0;
CREATE INDEX tasks_offered_path ON tasks (repository, path) WHERE state = 'queued' AND partition >= 0;
CREATE INDEX tasks_due ON tasks (due_ms) WHERE state = 'queued' AND due_ms > 0;
CREATE INDEX tasks_lease ON tasks (lease_until_ms) WHERE state = 'running';
CREATE INDEX tasks_unpublished ON tasks (publish_due_ms) WHERE state = 'done' AND published_ms = 0;
CREATE INDEX tasks_cleanup ON tasks (cleanup_ms) WHERE cleanup_ms > 0;
CREATE INDEX tasks_waiting ON tasks (created_ms) WHERE state = 'queued' AND waiting_for > 0;

CREATE TABLE task_bodies (
    task_id TEXT PRIMARY KEY REFERENCES tasks (id),
    task    TEXT NOT NULL,
    record  BLOB NOT NULL
);

-- The primary key is I1: a task has one result.
CREATE TABLE results (
    task_id TEXT PRIMARY KEY REFERENCES tasks (id),
    bytes   BLOB NOT NULL
);

-- The predecessor may not have a row yet.
CREATE TABLE dependencies (
    task_id     TEXT NOT NULL REFERENCES tasks (id),
    predecessor TEXT NOT NULL,
    PRIMARY KEY (task_id, predecessor)
);
CREATE INDEX dependencies_predecessor ON dependencies (predecessor);

-- Every commit that a run may have pushed: what a leftover branch may stand at.
CREATE TABLE intents (
    task_id      TEXT   NOT NULL REFERENCES tasks (id),
    seq          BIGINT NOT NULL,
    token        BIGINT NOT NULL,
    old_commit   TEXT,
    new_commit   TEXT   NOT NULL,
    delta_digest TEXT   NOT NULL,
    result       BLOB   NOT NULL,
    PRIMARY KEY (task_id, seq)
);

CREATE TABLE steps (
    task_id TEXT   NOT NULL REFERENCES tasks (id),
    n       BIGINT NOT NULL,
    run     INTEGER NOT NULL,
    step    TEXT   NOT NULL,
    bytes   BIGINT NOT NULL,
    PRIMARY KEY (task_id, n)
);

CREATE TABLE leases (
    repository TEXT   NOT NULL,
    path       TEXT   NOT NULL,
    lease_id   TEXT   NOT NULL UNIQUE,
    holder     TEXT   NOT NULL,
    token      BIGINT NOT NULL,
    request_id TEXT   NOT NULL,
    until_ms   BIGINT NOT NULL,
    commit_sha TEXT,
    PRIMARY KEY (repository, path)
);
CREATE INDEX leases_holder ON leases (holder);
CREATE INDEX leases_until ON leases (until_ms);
CREATE INDEX leases_request ON leases (request_id) WHERE request_id <> '';

-- The fair order (start-time fair queueing): the last rank given in each lane (a change, or '' for tasks without one), and in
-- lane '*' the largest rank whose turn has come.
CREATE TABLE turns (
    priority INTEGER NOT NULL,
    lane     TEXT    NOT NULL,
    rank     BIGINT  NOT NULL,
    PRIMARY KEY (priority, lane)
);

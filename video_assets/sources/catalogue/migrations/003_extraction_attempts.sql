-- A row for each record that was ever taken: whose it is now, and what became of it.
CREATE TABLE IF NOT EXISTS {attempts} (
    record_id bigint PRIMARY KEY REFERENCES {content} ({id}) ON DELETE CASCADE,
    -- Who has it in hand, until when. A process that lives renews its lease.
    worker text,
    leased_until timestamptz,
    -- Attempts that failed since the record was last changed by others, and when the next may be.
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    error_stage text,
    error_msg text,
    failed_at timestamptz,
    done_at timestamptz,
    -- The record's updated_at when it was last taken or written to: another one there is a change by others.
    content_updated_at timestamptz
);
CREATE INDEX IF NOT EXISTS {attempts_done} ON {attempts} (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS {attempts_failed} ON {attempts} (failed_at DESC) WHERE error_stage IS NOT NULL;

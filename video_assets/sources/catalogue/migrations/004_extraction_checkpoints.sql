-- How far `catalogue run --checkpoint table` is, for people: nothing is left out because of it.
CREATE TABLE IF NOT EXISTS {checkpoints} (
    pipeline_name text NOT NULL UNIQUE,
    last_processed_id bigint,
    total_processed bigint NOT NULL DEFAULT 0,
    total_failed bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

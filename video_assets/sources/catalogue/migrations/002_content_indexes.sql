-- What is left, newest first: as small as what is left.
CREATE INDEX IF NOT EXISTS {unextracted} ON {content} ({publish_date} DESC NULLS LAST, {id} DESC)
    WHERE {is_extracted} IS NOT TRUE;
CREATE INDEX IF NOT EXISTS {unembedded} ON {content} ({publish_date} DESC NULLS LAST, {id} DESC)
    WHERE {is_embedded} IS NOT TRUE;
-- What the sensor of Dagster has not seen.
CREATE INDEX IF NOT EXISTS {news} ON {content} ({updated_at}, {id}) WHERE {is_embedded} IS NOT TRUE;
-- The records of a day, for its manifest.
CREATE INDEX IF NOT EXISTS {published} ON {content} ({publish_date});

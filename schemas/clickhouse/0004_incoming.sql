-- Sound records of learning.activity are inserted once, into a table that keeps nothing; the server works out their digest and versions
-- and stores them as events and as records. An insert that failed half-way is repeated: both tables replace rows of one key.
CREATE TABLE IF NOT EXISTS store.incoming
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    source String COMMENT 'emitting platform',
    event_id String COMMENT 'id of the event inside its source',
    type String COMMENT 'whole CloudEvents type',
    course_id String COMMENT 'course of the event, or empty',
    class_id String COMMENT 'class that the event names, or empty',
    time_ms Int64 COMMENT 'when it happened, ms since 1970',
    own_ms Int64 COMMENT 'its own time as an act: the end of study, the sitting of an exam, else time; ms since 1970',
    ingested_ms Int64 COMMENT 'when it was accepted, ms since 1970, at least 0',
    data String COMMENT 'data object as received, JSON',
    content String COMMENT 'canonical JSON of what the event says',
    log_partition UInt16 COMMENT 'origin: partition of learning.activity',
    log_offset UInt64 COMMENT 'origin: offset in learning.activity',
    digest String DEFAULT lower(hex(SHA256(content))) COMMENT 'SHA-256 of the content, hex'
)
ENGINE = Null
COMMENT 'sound records of learning.activity on their way into events and records'
-- ;;
CREATE TABLE IF NOT EXISTS store.incoming_study
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    source String COMMENT 'emitting platform',
    event_id String COMMENT 'id of the event inside its source',
    course_id String COMMENT 'course studied',
    channel String COMMENT 'how it was studied',
    session_id String COMMENT 'session, or empty',
    time_ms Int64 COMMENT 'when it was told, ms since 1970',
    started_ms Int64 COMMENT 'start of the interval, ms since 1970, whole seconds',
    ended_ms Int64 COMMENT 'its end, ms since 1970, whole seconds',
    ingested_ms Int64 COMMENT 'when it was accepted, ms since 1970, at least 0',
    data String COMMENT 'data object as received, JSON',
    log_partition UInt16 COMMENT 'origin: partition of learning.activity',
    log_offset UInt64 COMMENT 'origin: offset in learning.activity'
)
ENGINE = Null
COMMENT 'sound records of study on their way into incoming: what they say in canonical form is written here'
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS store.incoming_study_content TO store.incoming
AS WITH
    (ms -> concat(replaceOne(toString(fromUnixTimestamp64Milli(ms, 'UTC')), ' ', 'T'), 'Z')) AS rfc3339,
    'chalkstream.study.recorded.v1' AS type
SELECT programme, learner_id, source, event_id, type, course_id, '' AS class_id, time_ms, ended_ms AS own_ms, ingested_ms, data,
    concat(
        '{"data":{"channel":"', channel, '","course_id":"', course_id, '","ended_at":"', rfc3339(ended_ms), '",',
        if(session_id = '', '', concat('"session_id":"', session_id, '",')), '"started_at":"', rfc3339(started_ms),
        '"},"programme":"', programme, '","subject":"', learner_id, '","time":"', rfc3339(time_ms), '","type":"', type, '"}'
    ) AS content,
    log_partition, log_offset
FROM store.incoming_study
COMMENT 'study with its content'
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS store.incoming_events TO store.events
AS SELECT programme, learner_id, source, event_id, digest, type, course_id,
    fromUnixTimestamp64Milli(time_ms, 'UTC') AS time,
    fromUnixTimestamp64Milli(ingested_ms, 'UTC') AS ingested_at,
    data, log_partition, log_offset,
    bitShiftLeft(toUInt128(18446744073709551615 - toUInt64(ingested_ms)), 64)
        + bitShiftLeft(toUInt128(65535 - log_partition), 48)
        + toUInt128(281474976710655 - log_offset) AS version
FROM store.incoming
COMMENT 'sound events as they come in'
-- ;;
CREATE MATERIALIZED VIEW IF NOT EXISTS store.incoming_records TO store.records
AS SELECT programme, source,
    greatest(reinterpretAsUInt128(reverse(substring(SHA256(concat(source, '\0', event_id, '\0', digest)), 1, 16))), toUInt128(1)) AS event_key,
    log_partition, log_offset,
    fromUnixTimestamp64Milli(ingested_ms, 'UTC') AS ingested_at,
    class_id, course_id,
    toUInt8(ingested_ms - own_ms > 86400000) AS late,
    toUInt8(0) AS unreadable,
    '' AS code
FROM store.incoming
COMMENT 'sound records as they come in'

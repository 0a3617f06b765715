-- What the loader writes. Rows of one key are replaced by the one of greatest version, so that a repeated or reordered
-- load is harmless; therefore no PARTITION BY, and readers say FINAL. Points, credits and study hours are whole numbers of
-- 1/100 here (columns *_100); the views in `marts` show them as exact decimals.
-- Statements are separated by a line `-- ;;`. A landed file is never edited: the next change is the next number.
CREATE DATABASE IF NOT EXISTS store COMMENT 'what the loader writes; read the views in marts instead'
-- ;;
CREATE DATABASE IF NOT EXISTS marts COMMENT 'the public relations, for analysts: views over store'
-- ;;
CREATE TABLE IF NOT EXISTS store.progress
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class as the facts say; empty where unknown',
    mode String COMMENT 'online or disc',
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'earliest registration',
    started_at Nullable(DateTime64(3, 'UTC')) COMMENT 'first act other than registered, selected, dropped',
    first_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'first act of any type',
    last_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'last act of any type',
    withdrawn UInt8 COMMENT '1: withdrawn and not reinstated',
    courses_selected UInt32 COMMENT 'selected courses that the rules know',
    courses_passed UInt32 COMMENT 'of these: passed',
    credited_seconds UInt64 COMMENT 'sum over the selected courses',
    study_hours_100 Int32 COMMENT 'credited_seconds over the study hour of the programme, cut, 1/100 hours',
    credits_100 Int32 COMMENT 'sum of the credits of the courses, 1/100',
    result String COMMENT 'in_progress, passed, failed or excellent',
    rules_version UInt32 COMMENT 'rules_version of the rule file applied',
    course_id Array(String) COMMENT 'selected courses; all course_* arrays are parallel to it',
    course_credited_seconds Array(UInt64) COMMENT 'credited study seconds',
    course_study_points_100 Array(Int32) COMMENT 'points of item study, 1/100',
    course_assignment_points_100 Array(Int32) COMMENT 'points of item assignments, 1/100',
    course_interaction_points_100 Array(Int32) COMMENT 'points of item interaction, 1/100',
    course_works_points_100 Array(Int32) COMMENT 'points of item works, 1/100',
    course_process_points_100 Array(Int32) COMMENT 'points of item process, 1/100',
    course_exam_points_100 Array(Int32) COMMENT 'points of item exam, 1/100',
    course_total_points_100 Array(Int32) COMMENT 'sum of the points, 1/100',
    course_gate_points_100 Array(Int32) COMMENT 'points that count for the gate of the exam, 1/100',
    course_gate_met Array(UInt8) COMMENT '1: the gate is met, or there is none',
    course_exam_before_gate Array(UInt8) COMMENT '1: an attempt exists that the gate holds back',
    course_passed Array(UInt8) COMMENT '1: passed',
    course_credits_100 Array(Int32) COMMENT 'credits, 1/100',
    course_last_active_at Array(Nullable(DateTime64(3, 'UTC'))) COMMENT 'last act that carries the course',
    course_explanation Array(String) COMMENT 'JSON: counts or seconds, limit and points of each item',
    flag_kind Array(String) COMMENT 'open flags; all flag_* arrays are parallel to it',
    flag_ref Array(String) COMMENT 'course or case of the flag, or empty',
    flag_severity Array(String) COMMENT 'notice, warning or escalation',
    flag_raised_at Array(DateTime64(3, 'UTC')) COMMENT 'when the flag opened',
    flag_owner_level Array(String) COMMENT 'school, county or city',
    flag_follow_ups Array(UInt32) COMMENT 'follow-ups recorded for the flag',
    flag_last_follow_up_at Array(Nullable(DateTime64(3, 'UTC'))) COMMENT 'time of the last follow-up',
    flag_last_outcome Array(String) COMMENT 'outcome of the last follow-up, or empty',
    updated_at DateTime64(3, 'UTC') COMMENT 'CHALK_CLOCK when scoring published the row',
    log_partition UInt16 COMMENT 'origin: partition of learning.progress',
    log_offset UInt64 COMMENT 'origin: offset in learning.progress',
    version UInt128 COMMENT 'epoch << 96 | offset applied << 48 | clock tick in ms',
    is_deleted UInt8 COMMENT '1: the row is no more'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (programme, learner_id)
COMMENT 'totals, courses and open flags of one learner in one programme, from learning.progress'
-- ;;
CREATE TABLE IF NOT EXISTS store.days
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    day Date COMMENT 'local day of the programme',
    credited_seconds UInt32 COMMENT 'study on that day after overlap rules and daily cap, on any course',
    active UInt8 COMMENT '1: an act on that day',
    log_partition UInt16 COMMENT 'origin: partition of learning.days',
    log_offset UInt64 COMMENT 'origin: offset in learning.days',
    version UInt128 COMMENT 'epoch << 96 | offset applied << 48 | clock tick in ms',
    is_deleted UInt8 COMMENT '1: the row is no more'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (programme, learner_id, day)
COMMENT 'one local day of one learner, from learning.days'
-- ;;
CREATE TABLE IF NOT EXISTS store.attention_log
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class at publication',
    school_id String COMMENT 'school at publication, or empty',
    county_id String COMMENT 'county at publication, or empty',
    city_id String COMMENT 'city at publication, or empty',
    province_id String COMMENT 'province at publication, or empty',
    mode String COMMENT 'online or disc, at publication',
    kind String COMMENT 'kind of flag',
    ref String COMMENT 'course or case of the flag, or empty',
    change String COMMENT 'raised, severity, owner, cleared or retracted',
    raised_at DateTime64(3, 'UTC') COMMENT 'when the flag opened',
    severity String COMMENT 'notice, warning or escalation',
    owner_level String COMMENT 'school, county or city',
    changed_at DateTime64(3, 'UTC') COMMENT 'CHALK_CLOCK at publication',
    log_partition UInt16 COMMENT 'origin: partition of learning.attention',
    log_offset UInt64 COMMENT 'origin: offset in learning.attention'
)
ENGINE = ReplacingMergeTree
ORDER BY (programme, learner_id, log_partition, log_offset)
COMMENT 'every published change of a flag, from learning.attention'
-- ;;
CREATE TABLE IF NOT EXISTS store.reminders
(
    reminder_id String COMMENT 'digest of programme, learner and the flag that made it due',
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    kind String COMMENT 'kind of the flag that made it due',
    ref String COMMENT 'course or case of that flag, or empty',
    severity String COMMENT 'severity of that flag then',
    raised_at DateTime64(3, 'UTC') COMMENT 'when that flag opened',
    flag_kind Array(String) COMMENT 'flags open at that moment; the flag_* arrays are parallel',
    flag_ref Array(String) COMMENT 'course or case, or empty',
    flag_severity Array(String) COMMENT 'severity then',
    flag_raised_at Array(DateTime64(3, 'UTC')) COMMENT 'when it opened',
    due_at DateTime64(3, 'UTC') COMMENT 'moment of CHALK_CLOCK from which it is due',
    log_partition UInt16 COMMENT 'origin: partition of learning.reminders',
    log_offset UInt64 COMMENT 'origin: offset in learning.reminders'
)
ENGINE = ReplacingMergeTree(log_offset)
ORDER BY (programme, learner_id, reminder_id)
COMMENT 'reminders that became due, from learning.reminders'
-- ;;
CREATE TABLE IF NOT EXISTS store.units
(
    unit_id String COMMENT 'unit id',
    parent_id String COMMENT 'the unit above as declared, or empty',
    level String COMMENT 'province, city, county, school or class',
    name String COMMENT 'name of the unit as last declared',
    declared_at DateTime64(3, 'UTC') COMMENT 'time of the declaration that holds',
    version UInt64 COMMENT 'offset + 1 of the record of organisation.directory that settled it'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY unit_id
COMMENT 'units, the latest declaration of each'
-- ;;
CREATE TABLE IF NOT EXISTS store.staff
(
    programme String COMMENT 'programme id',
    staff_id String COMMENT 'pseudonymous staff id',
    role String COMMENT 'tutor, class_head, school_admin, expert, county_admin, city_admin or province_admin',
    unit_id String COMMENT 'unit of the role',
    assigned UInt8 COMMENT '1: assigned, 0: released',
    changed_at DateTime64(3, 'UTC') COMMENT 'time of the fact that holds',
    version UInt64 COMMENT 'offset + 1 of the record of organisation.directory that settled it'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (programme, staff_id, role, unit_id)
COMMENT 'who has which role where, the latest of assigned and released'
-- ;;
CREATE TABLE IF NOT EXISTS store.courses
(
    programme String COMMENT 'programme id',
    course_id String COMMENT 'course id; empty: the programme itself is known',
    version UInt64 COMMENT 'real time at which the loader read the rule files, ms',
    is_deleted UInt8 COMMENT '1: no longer in the rule files'
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (programme, course_id)
COMMENT 'courses that the rule files know'
-- ;;
CREATE TABLE IF NOT EXISTS store.events
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    source String COMMENT 'emitting platform',
    event_id String COMMENT 'id of the event inside its source',
    digest String COMMENT 'SHA-256 of the content, hex' CODEC(ZSTD(1)),
    type String COMMENT 'whole CloudEvents type',
    course_id String COMMENT 'course of the event, or empty',
    time DateTime64(3, 'UTC') COMMENT 'when it happened',
    ingested_at DateTime64(3, 'UTC') COMMENT 'when it was accepted',
    data String COMMENT 'data object as received, JSON' CODEC(ZSTD(1)),
    log_partition UInt16 COMMENT 'origin: partition of learning.activity',
    log_offset UInt64 COMMENT 'origin: offset in learning.activity',
    version UInt128 COMMENT 'greatest for the smallest (ingested_at, partition, offset)'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (programme, learner_id, source, event_id, digest)
COMMENT 'sound learner events, one row per source, id and content'
-- ;;
CREATE TABLE IF NOT EXISTS store.records
(
    programme String COMMENT 'programme id, or empty where it cannot be read',
    source String COMMENT 'emitting platform, or empty where it cannot be read',
    event_key UInt128 COMMENT 'digest of source, id and content; 0 for an unsound record',
    log_partition UInt16 COMMENT 'origin: partition of learning.activity',
    log_offset UInt64 COMMENT 'origin: offset in learning.activity',
    ingested_at DateTime64(3, 'UTC') COMMENT 'when it was accepted; else the timestamp of the record',
    class_id String COMMENT 'class that the record names, or empty',
    course_id String COMMENT 'course that the record names, or empty',
    late UInt8 COMMENT '1: ingested more than 24 h after its own time',
    unreadable UInt8 COMMENT '1: unreadable or unsound, so not in events',
    code String COMMENT 'why it is unsound: first verdict, or empty'
)
ENGINE = ReplacingMergeTree
ORDER BY (programme, source, event_key, log_partition, log_offset)
COMMENT 'one row per record of learning.activity: what data_quality counts'
-- ;;
CREATE TABLE IF NOT EXISTS store.rejected
(
    topic String COMMENT 'origin: topic of the record',
    log_partition UInt16 COMMENT 'origin: partition',
    log_offset UInt64 COMMENT 'origin: offset',
    pointer Array(String) COMMENT 'where, as JSON pointers; parallel to code and detail',
    code Array(String) COMMENT 'what is wrong',
    detail Array(String) COMMENT 'in words',
    rejected_at DateTime64(3, 'UTC') COMMENT 'CHALK_CLOCK when scoring refused it'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, log_partition, log_offset)
COMMENT 'why records were refused, from learning.rejected, which has the records themselves'
-- ;;
CREATE TABLE IF NOT EXISTS store.watermarks
(
    kind String COMMENT 'scoring: word of scoring about its outputs; activity, directory: the loader about these topics',
    partition UInt16 COMMENT 'partition of learning.activity or organisation.directory',
    applied UInt64 COMMENT 'next offset: everything below it is in',
    as_of DateTime64(3, 'UTC') COMMENT 'moment of CHALK_CLOCK up to which everything is in; 1970: nothing is known yet',
    version UInt128 COMMENT 'epoch << 112 | applied << 48 | as_of in ms'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, partition)
COMMENT 'how far the tables reach'
-- ;;
CREATE TABLE IF NOT EXISTS store.clock
(
    id UInt8 COMMENT 'always 0',
    start_at DateTime64(3, 'UTC') COMMENT 'what the clock shows at anchor_at',
    speed Float64 COMMENT 'clock seconds per real second; 0 stands still',
    anchor_at DateTime64(3, 'UTC') COMMENT 'real instant at which the clock shows start_at',
    version UInt64 COMMENT 'real time at which the loader started, ms'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
COMMENT 'CHALK_CLOCK of the running loader, so that freshness knows now'
-- ;;
CREATE VIEW IF NOT EXISTS store.class_paths
(
    class_id String COMMENT 'declared unit of level class',
    school_id String COMMENT 'school above it, or empty where the chain is broken',
    county_id String COMMENT 'county above that, or empty',
    city_id String COMMENT 'city above that, or empty',
    province_id String COMMENT 'province above that, or empty'
)
AS SELECT
    c.unit_id AS class_id,
    s.unit_id AS school_id,
    k.unit_id AS county_id,
    t.unit_id AS city_id,
    p.unit_id AS province_id
FROM (SELECT unit_id, parent_id FROM store.units FINAL WHERE level = 'class') AS c
LEFT JOIN (SELECT unit_id, parent_id FROM store.units FINAL WHERE level = 'school') AS s ON s.unit_id = c.parent_id
LEFT JOIN (SELECT unit_id, parent_id FROM store.units FINAL WHERE level = 'county') AS k ON k.unit_id = s.parent_id
LEFT JOIN (SELECT unit_id, parent_id FROM store.units FINAL WHERE level = 'city') AS t ON t.unit_id = k.parent_id
LEFT JOIN (SELECT unit_id FROM store.units FINAL WHERE level = 'province') AS p ON p.unit_id = t.parent_id
SETTINGS join_use_nulls = 0
COMMENT 'the units above a class, as far as each is declared one level up'

-- The public relations: views, so that each query sees one consistent, newest state of what the loader wrote.
-- They run with the rights of whoever migrated, so that an analyst needs SELECT on marts and nothing else.
-- Names and meanings are a contract: they are added to, never changed. A landed file is never edited.
CREATE VIEW IF NOT EXISTS marts.learner_progress
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class as the facts say, declared or not; empty where unknown',
    school_id String COMMENT 'school, or empty where unknown or the chain of units is broken',
    county_id String COMMENT 'county, or empty',
    city_id String COMMENT 'city, or empty',
    province_id String COMMENT 'province, or empty',
    mode String COMMENT 'online or disc',
    registered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'earliest registration; NULL: not registered',
    started_at Nullable(DateTime64(3, 'UTC')) COMMENT 'first act other than registered, selected, dropped',
    first_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'first act of any type',
    last_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'last act of any type',
    withdrawn UInt8 COMMENT '1: withdrawn; keeps its row, is in no figure of a unit',
    courses_selected UInt32 COMMENT 'selected courses',
    courses_passed UInt32 COMMENT 'of these: passed',
    credited_seconds UInt64 COMMENT 'sum over the course rows, seconds',
    study_hours Decimal(9, 2) COMMENT 'credited_seconds over the study hour of the programme, cut to 1/100',
    credits Decimal(9, 2) COMMENT 'sum over the course rows',
    result String COMMENT 'in_progress, passed, failed or excellent',
    rules_version UInt32 COMMENT 'rules_version of the rule file applied',
    updated_at DateTime64(3, 'UTC') COMMENT 'CHALK_CLOCK when scoring published the row'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    p.programme AS programme,
    p.learner_id AS learner_id,
    p.class_id AS class_id,
    c.school_id AS school_id,
    c.county_id AS county_id,
    c.city_id AS city_id,
    c.province_id AS province_id,
    p.mode AS mode,
    p.registered_at AS registered_at,
    p.started_at AS started_at,
    p.first_active_at AS first_active_at,
    p.last_active_at AS last_active_at,
    p.withdrawn AS withdrawn,
    p.courses_selected AS courses_selected,
    p.courses_passed AS courses_passed,
    p.credited_seconds AS credited_seconds,
    CAST(toDecimal64(p.study_hours_100, 2) / 100, 'Decimal(9, 2)') AS study_hours,
    CAST(toDecimal64(p.credits_100, 2) / 100, 'Decimal(9, 2)') AS credits,
    p.result AS result,
    p.rules_version AS rules_version,
    p.updated_at AS updated_at
FROM store.progress AS p FINAL
LEFT JOIN store.class_paths AS c ON c.class_id = p.class_id
SETTINGS join_use_nulls = 0
COMMENT 'one row per programme and learner: totals and result'
-- ;;
CREATE VIEW IF NOT EXISTS marts.course_progress
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class as the facts say, declared or not; empty where unknown',
    school_id String COMMENT 'school, or empty where unknown or the chain of units is broken',
    county_id String COMMENT 'county, or empty',
    city_id String COMMENT 'city, or empty',
    province_id String COMMENT 'province, or empty',
    mode String COMMENT 'online or disc',
    course_id String COMMENT 'selected course',
    credited_seconds UInt64 COMMENT 'credited study on the course, seconds',
    study_points Decimal(7, 2) COMMENT 'points of item study',
    assignment_points Decimal(7, 2) COMMENT 'points of item assignment',
    interaction_points Decimal(7, 2) COMMENT 'points of item interaction',
    works_points Decimal(7, 2) COMMENT 'points of item works',
    process_points Decimal(7, 2) COMMENT 'points of item process',
    exam_points Decimal(7, 2) COMMENT 'points of item exam',
    total_points Decimal(7, 2) COMMENT 'sum of the points of all items',
    gate_points Decimal(7, 2) COMMENT 'points of the items that the gate of the exam counts; 0 without a gate',
    gate_met UInt8 COMMENT '1: the gate of the exam is met, or there is none',
    exam_before_gate UInt8 COMMENT '1: an attempt exists that the gate still holds back',
    passed UInt8 COMMENT '1: passed',
    credits Decimal(9, 2) COMMENT 'credits of the course',
    last_active_at Nullable(DateTime64(3, 'UTC')) COMMENT 'last act of any type that carries the course',
    explanation String COMMENT 'JSON: per item its counts or seconds, limit and points'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    p.programme AS programme,
    p.learner_id AS learner_id,
    p.class_id AS class_id,
    c.school_id AS school_id,
    c.county_id AS county_id,
    c.city_id AS city_id,
    c.province_id AS province_id,
    p.mode AS mode,
    x_id AS course_id,
    x_seconds AS credited_seconds,
    CAST(toDecimal64(x_study, 2) / 100, 'Decimal(7, 2)') AS study_points,
    CAST(toDecimal64(x_assignment, 2) / 100, 'Decimal(7, 2)') AS assignment_points,
    CAST(toDecimal64(x_interaction, 2) / 100, 'Decimal(7, 2)') AS interaction_points,
    CAST(toDecimal64(x_works, 2) / 100, 'Decimal(7, 2)') AS works_points,
    CAST(toDecimal64(x_process, 2) / 100, 'Decimal(7, 2)') AS process_points,
    CAST(toDecimal64(x_exam, 2) / 100, 'Decimal(7, 2)') AS exam_points,
    CAST(toDecimal64(x_total, 2) / 100, 'Decimal(7, 2)') AS total_points,
    CAST(toDecimal64(x_gate, 2) / 100, 'Decimal(7, 2)') AS gate_points,
    x_gate_met AS gate_met,
    x_exam_before_gate AS exam_before_gate,
    x_passed AS passed,
    CAST(toDecimal64(x_credits, 2) / 100, 'Decimal(9, 2)') AS credits,
    x_last_active_at AS last_active_at,
    x_explanation AS explanation
FROM
(
    SELECT
        programme, learner_id, class_id, mode, x_id, x_seconds,
        x_study, x_assignment, x_interaction, x_works, x_process, x_exam, x_total, x_gate,
        x_gate_met, x_exam_before_gate, x_passed, x_credits, x_last_active_at, x_explanation
    FROM store.progress FINAL
    ARRAY JOIN
        course_id AS x_id,
        course_credited_seconds AS x_seconds,
        course_study_points_100 AS x_study,
        course_assignment_points_100 AS x_assignment,
        course_interaction_points_100 AS x_interaction,
        course_works_points_100 AS x_works,
        course_process_points_100 AS x_process,
        course_exam_points_100 AS x_exam,
        course_total_points_100 AS x_total,
        course_gate_points_100 AS x_gate,
        course_gate_met AS x_gate_met,
        course_exam_before_gate AS x_exam_before_gate,
        course_passed AS x_passed,
        course_credits_100 AS x_credits,
        course_last_active_at AS x_last_active_at,
        course_explanation AS x_explanation
) AS p
LEFT JOIN store.class_paths AS c ON c.class_id = p.class_id
SETTINGS join_use_nulls = 0
COMMENT 'one row per programme, learner and selected course: points, pass, credits'
-- ;;
CREATE VIEW IF NOT EXISTS marts.needs_attention
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class as the facts say, declared or not; empty where unknown',
    school_id String COMMENT 'school, or empty where unknown or the chain of units is broken',
    county_id String COMMENT 'county, or empty',
    city_id String COMMENT 'city, or empty',
    province_id String COMMENT 'province, or empty',
    mode String COMMENT 'online or disc',
    kind String COMMENT 'kind of flag',
    ref String COMMENT 'course or case of the flag, or empty',
    severity String COMMENT 'notice, warning or escalation',
    raised_at DateTime64(3, 'UTC') COMMENT 'when the flag opened',
    owner_level String COMMENT 'who has to act: school, county or city',
    follow_ups UInt32 COMMENT 'follow-ups recorded since the flag has its base',
    last_follow_up_at Nullable(DateTime64(3, 'UTC')) COMMENT 'time of the last of them',
    last_outcome String COMMENT 'its outcome, or empty'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    p.programme AS programme,
    p.learner_id AS learner_id,
    p.class_id AS class_id,
    c.school_id AS school_id,
    c.county_id AS county_id,
    c.city_id AS city_id,
    c.province_id AS province_id,
    p.mode AS mode,
    x_kind AS kind,
    x_ref AS ref,
    x_severity AS severity,
    x_raised_at AS raised_at,
    x_owner_level AS owner_level,
    x_follow_ups AS follow_ups,
    x_last_follow_up_at AS last_follow_up_at,
    x_last_outcome AS last_outcome
FROM
(
    SELECT
        programme, learner_id, class_id, mode, x_kind, x_ref, x_severity, x_raised_at, x_owner_level,
        x_follow_ups, x_last_follow_up_at, x_last_outcome
    FROM store.progress FINAL
    ARRAY JOIN
        flag_kind AS x_kind,
        flag_ref AS x_ref,
        flag_severity AS x_severity,
        flag_raised_at AS x_raised_at,
        flag_owner_level AS x_owner_level,
        flag_follow_ups AS x_follow_ups,
        flag_last_follow_up_at AS x_last_follow_up_at,
        flag_last_outcome AS x_last_outcome
) AS p
LEFT JOIN store.class_paths AS c ON c.class_id = p.class_id
SETTINGS join_use_nulls = 0
COMMENT 'one row per programme, learner, kind and ref: the flags open now'
-- ;;
CREATE VIEW IF NOT EXISTS marts.attention_log
(
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    class_id String COMMENT 'class at publication',
    school_id String COMMENT 'school at publication, or empty where unknown or the chain of units is broken',
    county_id String COMMENT 'county at publication, or empty',
    city_id String COMMENT 'city at publication, or empty',
    province_id String COMMENT 'province at publication, or empty',
    mode String COMMENT 'online or disc at publication',
    kind String COMMENT 'kind of flag',
    ref String COMMENT 'course or case of the flag, or empty',
    change String COMMENT 'raised, severity, owner, cleared or retracted',
    raised_at DateTime64(3, 'UTC') COMMENT 'when the flag opened',
    severity String COMMENT 'notice, warning or escalation, after the change',
    owner_level String COMMENT 'school, county or city, after the change',
    changed_at DateTime64(3, 'UTC') COMMENT 'CHALK_CLOCK at publication'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    programme, learner_id, class_id, school_id, county_id, city_id, province_id, mode,
    kind, ref, change, raised_at, severity, owner_level, changed_at
FROM store.attention_log FINAL
COMMENT 'one row per published change of a flag; depends on when the program looked'
-- ;;
CREATE VIEW IF NOT EXISTS marts.freshness
(
    relation String COMMENT 'relation of this database',
    as_of DateTime64(3, 'UTC') COMMENT 'everything up to this moment of CHALK_CLOCK is in; 1970: not known yet',
    lag_seconds Float64 COMMENT 'CHALK_CLOCK now minus as_of, clock seconds',
    applied Map(String, UInt64) COMMENT 'topic:partition -> next offset that is not in yet'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH
    (
        SELECT argMax(toUnixTimestamp64Milli(start_at) + toInt64(
            (toUnixTimestamp64Milli(now64(3)) - toUnixTimestamp64Milli(anchor_at)) * speed), version)
        FROM store.clock
    ) AS now_ms
SELECT
    relation,
    min(w_as_of) AS as_of,
    greatest(0, coalesce(now_ms, 0) - toUnixTimestamp64Milli(min(w_as_of))) / 1000 AS lag_seconds,
    mapFromArrays(groupArray(origin), groupArray(w_applied)) AS applied
FROM
(
    SELECT
        as_of AS w_as_of,
        applied AS w_applied,
        concat(if(kind = 'directory', 'organisation.directory:', 'learning.activity:'), toString(partition)) AS origin,
        arrayJoin(multiIf(
            kind = 'scoring', ['learner_progress', 'course_progress', 'needs_attention', 'attention_log', 'unit_progress', 'activity_daily'],
            kind = 'activity', ['data_quality', 'events'],
            ['learner_progress', 'course_progress', 'needs_attention', 'attention_log', 'unit_progress', 'activity_daily',
             'data_quality', 'events'])) AS relation
    FROM store.watermarks FINAL
)
GROUP BY relation
COMMENT 'one row per relation: how fresh it is'
-- ;;
CREATE VIEW IF NOT EXISTS marts.unit_progress
(
    programme String COMMENT 'programme id',
    level String COMMENT 'province, city, county, school or class',
    unit_id String COMMENT 'declared unit with at least one learner',
    name String COMMENT 'its name',
    parent_id String COMMENT 'the unit above as declared, or empty',
    learners UInt64 COMMENT 'learners whose row names the unit, not withdrawn',
    registered UInt64 COMMENT 'of these: registered',
    started UInt64 COMMENT 'of these: started',
    active_7d UInt64 COMMENT 'of these: last act later than as_of of this relation - 168 h',
    passed UInt64 COMMENT 'of these: result passed or excellent',
    failed UInt64 COMMENT 'of these: result failed',
    open_flags UInt64 COMMENT 'flags open now',
    credited_seconds UInt64 COMMENT 'sum over these learners, seconds',
    mean_credits Decimal(9, 2) COMMENT 'credits per learner, cut to 1/100'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH (SELECT min(as_of) FROM marts.freshness WHERE relation = 'unit_progress') AS moment
SELECT
    s.programme AS programme,
    u.level AS level,
    u.unit_id AS unit_id,
    u.name AS name,
    u.parent_id AS parent_id,
    sum(s.n) AS learners,
    sum(s.n_registered) AS registered,
    sum(s.n_started) AS started,
    sum(s.n_active) AS active_7d,
    sum(s.n_passed) AS passed,
    sum(s.n_failed) AS failed,
    sum(s.n_flags) AS open_flags,
    sum(s.seconds) AS credited_seconds,
    CAST(toDecimal64(intDiv(sum(s.credits_100), sum(s.n)), 2) / 100, 'Decimal(9, 2)') AS mean_credits
FROM
(
    SELECT
        a.*,
        arrayJoin(arrayDistinct(arrayFilter(x -> x != '', [a.class_id, c.school_id, c.county_id, c.city_id, c.province_id]))) AS named
    FROM
    (
        SELECT
            programme,
            class_id,
            count() AS n,
            countIf(registered_at IS NOT NULL) AS n_registered,
            countIf(started_at IS NOT NULL) AS n_started,
            countIf(last_active_at > coalesce(moment, toDateTime64(0, 3, 'UTC')) - toIntervalHour(168)) AS n_active,
            countIf(result IN ('passed', 'excellent')) AS n_passed,
            countIf(result = 'failed') AS n_failed,
            sum(length(flag_kind)) AS n_flags,
            sum(store.progress.credited_seconds) AS seconds,
            sum(store.progress.credits_100) AS credits_100
        FROM store.progress FINAL
        WHERE withdrawn = 0
        GROUP BY programme, class_id
    ) AS a
    LEFT JOIN store.class_paths AS c ON c.class_id = a.class_id
) AS s
INNER JOIN (SELECT unit_id, level, name, parent_id FROM store.units FINAL) AS u ON u.unit_id = s.named
GROUP BY s.programme, u.level, u.unit_id, u.name, u.parent_id
SETTINGS join_use_nulls = 0
COMMENT 'one row per programme and declared unit with learners'
-- ;;
CREATE VIEW IF NOT EXISTS marts.activity_daily
(
    programme String COMMENT 'programme id',
    unit_id String COMMENT 'declared unit with at least one learner',
    day Date COMMENT 'local day of the programme',
    active_learners UInt64 COMMENT 'learners now in the unit, not withdrawn, with an act on that day',
    credited_seconds UInt64 COMMENT 'their study on that day after overlap rules and daily cap, on any course'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    s.programme AS programme,
    s.named AS unit_id,
    s.day AS day,
    sum(s.n_active) AS active_learners,
    sum(s.seconds) AS credited_seconds
FROM
(
    SELECT
        a.programme AS programme,
        a.day AS day,
        a.n_active AS n_active,
        a.seconds AS seconds,
        arrayJoin(arrayDistinct(arrayFilter(x -> x != '', [a.class_id, c.school_id, c.county_id, c.city_id, c.province_id]))) AS named
    FROM
    (
        SELECT d.programme AS programme, p.class_id AS class_id, d.day AS day, sum(d.active) AS n_active, sum(d.credited_seconds) AS seconds
        FROM (SELECT programme, learner_id, day, active, credited_seconds FROM store.days FINAL) AS d
        INNER JOIN (SELECT programme, learner_id, class_id FROM store.progress FINAL WHERE withdrawn = 0) AS p
            ON p.programme = d.programme AND p.learner_id = d.learner_id
        GROUP BY d.programme, p.class_id, d.day
    ) AS a
    LEFT JOIN store.class_paths AS c ON c.class_id = a.class_id
) AS s
WHERE s.named IN (SELECT unit_id FROM store.units FINAL)
GROUP BY s.programme, s.named, s.day
HAVING active_learners > 0 OR credited_seconds > 0
SETTINGS join_use_nulls = 0
COMMENT 'one row per programme, unit and local day with activity'
-- ;;
CREATE VIEW IF NOT EXISTS marts.events
(
    event_id String COMMENT 'id of the event inside its source',
    source String COMMENT 'emitting platform',
    type String COMMENT 'whole CloudEvents type',
    programme String COMMENT 'programme id',
    learner_id String COMMENT 'pseudonymous learner id',
    course_id String COMMENT 'course of the event, or empty',
    time DateTime64(3, 'UTC') COMMENT 'when it happened',
    ingested_at DateTime64(3, 'UTC') COMMENT 'when it was accepted',
    partition UInt16 COMMENT 'origin: partition of learning.activity',
    offset UInt64 COMMENT 'origin: offset in learning.activity',
    data String COMMENT 'data object as received, JSON'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT
    event_id, source, type, programme, learner_id, course_id, time, ingested_at,
    log_partition AS partition, log_offset AS offset, data
FROM store.events FINAL
COMMENT 'sound learner events: one row per source, id and content, the first one accepted'
-- ;;
CREATE VIEW IF NOT EXISTS marts.data_quality
(
    programme String COMMENT 'programme id, or empty where it cannot be read',
    kind String COMMENT 'unknown_class, unknown_course, unreadable, late or duplicate',
    subject String COMMENT 'class, course or source',
    records UInt64 COMMENT 'records of learning.activity',
    first_seen_at DateTime64(3, 'UTC') COMMENT 'when the first of them was accepted',
    last_seen_at DateTime64(3, 'UTC') COMMENT 'when the last of them was accepted'
)
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT programme, 'unknown_class' AS kind, class_id AS subject, count() AS records,
    min(ingested_at) AS first_seen_at, max(ingested_at) AS last_seen_at
FROM store.records FINAL
WHERE class_id != '' AND class_id NOT IN (SELECT unit_id FROM store.units FINAL)
GROUP BY programme, class_id
UNION ALL
SELECT programme, 'unknown_course' AS kind, course_id AS subject, count() AS records,
    min(ingested_at) AS first_seen_at, max(ingested_at) AS last_seen_at
FROM store.records FINAL
WHERE course_id != ''
    AND programme IN (SELECT programme FROM store.courses FINAL)
    AND (programme, course_id) NOT IN (SELECT programme, course_id FROM store.courses FINAL)
GROUP BY programme, course_id
UNION ALL
SELECT programme, 'unreadable' AS kind, source AS subject, count() AS records,
    min(ingested_at) AS first_seen_at, max(ingested_at) AS last_seen_at
FROM store.records FINAL
WHERE unreadable = 1
GROUP BY programme, source
UNION ALL
SELECT programme, 'late' AS kind, source AS subject, count() AS records,
    min(ingested_at) AS first_seen_at, max(ingested_at) AS last_seen_at
FROM store.records FINAL
WHERE late = 1
GROUP BY programme, source
UNION ALL
SELECT programme, 'duplicate' AS kind, source AS subject, sum(n - 1) AS records,
    min(second) AS first_seen_at, max(last) AS last_seen_at
FROM
(
    SELECT programme, source, event_key, count() AS n, max(ingested_at) AS last, arraySort(groupArray(2)(ingested_at))[-1] AS second
    FROM store.records FINAL
    WHERE event_key != 0
    GROUP BY programme, source, event_key
    HAVING n > 1
    SETTINGS optimize_aggregation_in_order = 1
)
GROUP BY programme, source
COMMENT 'what is odd about the records that arrived; counts of records, not of facts'

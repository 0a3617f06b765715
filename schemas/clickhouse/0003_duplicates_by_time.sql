-- A fact's second record is its second in time, not the second in the log: of three or more, the first two offsets may hold the latest.
CREATE OR REPLACE VIEW marts.data_quality
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
    SELECT programme, source, event_key, count() AS n, max(ingested_at) AS last, groupArraySorted(2)(ingested_at)[2] AS second
    FROM store.records FINAL
    WHERE event_key != 0
    GROUP BY programme, source, event_key
    HAVING n > 1
    SETTINGS optimize_aggregation_in_order = 1
)
GROUP BY programme, source
COMMENT 'what is odd about the records that arrived; counts of records, not of facts'

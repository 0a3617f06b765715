-- Study has no way of its own any more: the loader says the canonical content of every event.
DROP VIEW IF EXISTS store.incoming_study_content
-- ;;
DROP TABLE IF EXISTS store.incoming_study

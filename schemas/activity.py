"""What a learner does, and what is done to a learner's record: the `data` of every learner event, one frozen model a type.

Inside, instants are milliseconds since 1970 UTC, study intervals whole seconds, scores whole numbers of 1/10000.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.envelope import Fingerprint, Frozen, Id, Instant, Note, Score, WholeSecond, Year

Mode = Literal["online", "disc"]
Form = Literal["online", "paper"]
StudyChannel = Literal["online", "live", "group_online", "group_in_person", "disc"]
ContactChannel = Literal["phone", "sms", "wechat", "visit", "email", "other"]
FlagKind = Literal["not_registered", "not_started", "inactive", "behind", "assignment_overdue", "exam_due", "plagiarism_suspected"]
WorkKind = Literal["classroom_record", "lesson_design", "teaching_narrative", "teaching_case", "research_article"]

STUDY = "chalkstream.study.recorded.v1"
LONGEST_S = 24 * 3600
"""Of an interval of study, in seconds: beyond this it is wrong for everybody, whatever a programme allows."""


class LearnerEnrolled(Frozen):
    """The roster expects the learner to register."""

    class_id: Id
    mode: Mode | None = None
    birth_year: Year | None = None
    gender: Literal["male", "female"] | None = None


class LearnerRegistered(Frozen):
    class_id: Id
    mode: Mode | None = None


class LearnerTransferred(Frozen):
    class_id: Id
    mode: Mode | None = None


class LearnerWithdrawn(Frozen):
    pass


class LearnerReinstated(Frozen):
    pass


class CourseSelected(Frozen):
    course_id: Id


class CourseDropped(Frozen):
    course_id: Id


class PlatformVisited(Frozen):
    """Activity without credit."""


class StudyRecorded(Frozen):
    """The interval [started_at, ended_at) was studied; both in whole seconds since 1970."""

    course_id: Id
    started_at: WholeSecond
    ended_at: WholeSecond
    channel: StudyChannel
    session_id: Id | None = None


class AssignmentSubmitted(Frozen):
    course_id: Id
    assignment_id: Id
    submission_id: Id
    fingerprint: Fingerprint | None = None


class AssignmentGraded(Frozen):
    course_id: Id
    assignment_id: Id
    score: Score
    grader_id: Id


class PostPublished(Frozen):
    course_id: Id
    post_id: Id
    kind: Literal["question", "reply"]
    reply_to: Id | None = None


class PostRemoved(Frozen):
    post_id: Id
    course_id: Id


class WorkPublished(Frozen):
    """A piece of work that belongs to exactly one course or one activity."""

    work_id: Id
    kind: WorkKind
    course_id: Id | None = None
    activity_id: Id | None = None


class WorkReviewed(Frozen):
    work_id: Id
    verdict: Literal["accepted", "returned"]


class WorkRemoved(Frozen):
    work_id: Id


class ProcessMarked(Frozen):
    """Disc mode's process mark of a course."""

    course_id: Id
    score: Score
    marker_id: Id


class AssessmentChosen(Frozen):
    """The form of exam that a disc learner chose."""

    course_id: Id
    form: Form


class ExamMarked(Frozen):
    course_id: Id
    attempt_id: Id
    form: Form
    score: Score
    sat_at: Instant = Field(description="when the exam was sat; `time` is when it was marked")


class PlagiarismRuled(Frozen):
    case_id: Id
    submission_id: Id
    verdict: Literal["suspected", "confirmed", "cleared"]


class FollowUpRecorded(Frozen):
    """Somebody got in touch about a flag."""

    flag: FlagKind
    ref: Id | None = None
    channel: ContactChannel
    outcome: Literal["reached", "no_answer", "wrong_contact", "promised", "other"]
    staff_id: Id
    note: Note | None = None


class ReminderDelivered(Frozen):
    reminder_id: Id
    channel: ContactChannel


class ReminderFailed(Frozen):
    reminder_id: Id
    channel: ContactChannel
    reason: Note


class CertificateIssued(Frozen):
    certificate_id: Id


LEARNER_TYPES: dict[str, type[Frozen]] = {
    "chalkstream.learner.enrolled.v1": LearnerEnrolled,
    "chalkstream.learner.registered.v1": LearnerRegistered,
    "chalkstream.learner.transferred.v1": LearnerTransferred,
    "chalkstream.learner.withdrawn.v1": LearnerWithdrawn,
    "chalkstream.learner.reinstated.v1": LearnerReinstated,
    "chalkstream.course.selected.v1": CourseSelected,
    "chalkstream.course.dropped.v1": CourseDropped,
    "chalkstream.platform.visited.v1": PlatformVisited,
    "chalkstream.study.recorded.v1": StudyRecorded,
    "chalkstream.assignment.submitted.v1": AssignmentSubmitted,
    "chalkstream.assignment.graded.v1": AssignmentGraded,
    "chalkstream.post.published.v1": PostPublished,
    "chalkstream.post.removed.v1": PostRemoved,
    "chalkstream.work.published.v1": WorkPublished,
    "chalkstream.work.reviewed.v1": WorkReviewed,
    "chalkstream.work.removed.v1": WorkRemoved,
    "chalkstream.process.marked.v1": ProcessMarked,
    "chalkstream.assessment.chosen.v1": AssessmentChosen,
    "chalkstream.exam.marked.v1": ExamMarked,
    "chalkstream.plagiarism.ruled.v1": PlagiarismRuled,
    "chalkstream.follow_up.recorded.v1": FollowUpRecorded,
    "chalkstream.reminder.delivered.v1": ReminderDelivered,
    "chalkstream.reminder.failed.v1": ReminderFailed,
    "chalkstream.certificate.issued.v1": CertificateIssued,
}

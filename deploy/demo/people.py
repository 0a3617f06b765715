"""Who lives in the demo: two provinces with their units, staff, teachers and logins, all invented and all from one seed.

Names and contacts made here go to the identity store only; events carry `Teacher.learner_id`, which says nothing about anybody.
Phone numbers begin with 000 and addresses end in `.invalid`, so that nobody real can ever be meant.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

PLAN_A = "guopei-shaanxi-2023"
PLAN_B = "zhuozhou-2023"
SHARE_A = 0.6
CLASS_SIZE = 40
PASSWORD = "chalkstream-demo"

HABITS = {  # habit -> teachers of 100
    "excellent": 9, "steady": 36, "bursty": 15, "last_minute": 11, "gone_quiet": 13, "never_started": 8, "never_registered": 6, "slow": 2,
}  # fmt: skip

_CITIES_A = ["西安市", "宝鸡市", "咸阳市", "渭南市", "汉中市", "榆林市", "延安市", "安康市", "商洛市", "铜川市"]
_COUNTY_FIRST = ["清", "洛", "泾", "渭", "安", "永", "长", "定", "凤", "龙", "平", "宁", "文", "和", "兴", "丰"]
_COUNTY_SECOND = ["河", "源", "川", "阳", "塬", "水", "泉", "原", "岭", "池"]
_TOWN = ["东关", "西街", "南湖", "北坡", "桃园", "双塔", "码头", "柳河", "松林", "百尺", "义和", "孙庄", "清凉", "豆庄", "刁窝", "林屯"]
_SCHOOL = ["中心小学", "初级中学", "实验小学", "第二小学", "中学", "九年制学校", "希望小学"]
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
    "范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国志文晓春海燕雪丹宁慧琳颖欣怡然博宇浩轩子涵思远若曦景行知秋"


@dataclass(frozen=True, slots=True)
class Unit:
    unit_id: str
    parent_id: str
    level: str
    name: str


@dataclass(frozen=True, slots=True)
class Staff:
    staff_id: str
    role: str
    unit_id: str
    programme: str
    name: str


@dataclass(frozen=True, slots=True)
class Teacher:
    """A learner; `number` is its place in the whole population and seeds everything it does."""

    number: int
    learner_id: str
    programme: str
    class_id: str
    sibling_class_id: str
    school_admin: str
    tutor: str
    habit: str
    birth_year: int
    gender: str
    name: str
    phone: str
    email: str


@dataclass(frozen=True, slots=True)
class Account:
    username: str
    password: str
    name: str
    unit_id: str
    level: str
    programme: str


@dataclass(frozen=True, slots=True)
class Population:
    units: list[Unit] = field(default_factory=list)
    staff: list[Staff] = field(default_factory=list)
    teachers: list[Teacher] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)


def _name(rng: random.Random) -> str:
    return rng.choice(_SURNAMES) + "".join(rng.choice(_GIVEN) for _ in range(rng.choice((1, 2, 2))))


def _pseudonym(seed: int, number: int, kind: str) -> str:
    return kind + hashlib.sha256(f"{seed}/{kind}/{number}".encode()).hexdigest()[:12]


def _take(rng: random.Random, used: set[str], firsts: list[str], seconds: list[str], suffix: str = "") -> str:
    """An unused combination; when they run out, one with a number."""
    for _ in range(200):
        name = rng.choice(firsts) + rng.choice(seconds) + suffix
        if name not in used:
            used.add(name)
            return name
    name = f"{rng.choice(firsts)}{rng.choice(seconds)}{suffix}（{len(used)}）"
    used.add(name)
    return name


class _Builder:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.out = Population()
        self.used: set[str] = set()

    def unit(self, unit_id: str, parent_id: str, level: str, name: str) -> str:
        self.out.units.append(Unit(unit_id, parent_id, level, name))
        return unit_id

    def staff(self, role: str, unit_id: str, programme: str) -> str:
        staff_id = _pseudonym(self.seed, len(self.out.staff), "s-")
        self.out.staff.append(Staff(staff_id, role, unit_id, programme, _name(self.rng)))
        return staff_id

    def account(self, unit_id: str, level: str, programme: str) -> None:
        name = next(unit.name for unit in reversed(self.out.units) if unit.unit_id == unit_id)
        self.out.accounts.append(Account(unit_id, PASSWORD, f"{name}管理员", unit_id, level, programme))

    def school(self, school_id: str, county_id: str, programme: str, classes: int, learners: int) -> None:
        """A school with `classes` classes which share `learners` teachers evenly."""
        self.unit(school_id, county_id, "school", _take(self.rng, self.used, _TOWN, _SCHOOL))
        admin = self.staff("school_admin", school_id, programme)
        tutors = [self.staff("tutor", school_id, programme) for _ in range(1 if learners < 100 else 2)]
        ids = [f"{school_id}-{number + 1}" for number in range(classes)]
        for number, class_id in enumerate(ids):
            self.unit(class_id, school_id, "class", f"{number + 1}班")
            self.staff("class_head", class_id, programme)
        for number in range(learners):
            here = number * classes // learners
            self.teacher(programme, ids[here], ids[(here + 1) % classes], admin, tutors[number % len(tutors)])

    def teacher(self, programme: str, class_id: str, sibling: str, admin: str, tutor: str) -> None:
        rng, number = self.rng, len(self.out.teachers)
        habit = rng.choices(list(HABITS), list(HABITS.values()))[0]
        self.out.teachers.append(
            Teacher(
                number, _pseudonym(self.seed, number, "t-"), programme, class_id, sibling, admin, tutor, habit,
                min(2001, max(1963, round(rng.gauss(1981, 7)))), rng.choice(("female", "female", "male")), _name(rng),
                f"000{number:08d}", f"t{number}@teachers.invalid",
            )
        )  # fmt: skip


def _shares(total: int, parts: int) -> list[int]:
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]


def _shaanxi(build: _Builder, learners: int) -> None:
    """Plan A: a whole province; cities, counties and schools grow with the number of teachers."""
    classes = max(1, -(-learners // CLASS_SIZE))
    schools = max(1, -(-classes // 3))
    counties = max(1, -(-schools // 4))
    cities = min(len(_CITIES_A), max(1, -(-counties // 2)))
    build.unit("shaanxi", "", "province", "陕西省")
    build.staff("province_admin", "shaanxi", PLAN_A)
    build.account("shaanxi", "province", PLAN_A)
    learners_of, classes_of = iter(_shares(learners, schools)), iter(_shares(classes, schools))
    schools_of = iter(_shares(schools, counties))
    for city, county_count in enumerate(_shares(counties, cities)):
        city_id = build.unit(f"sn{city + 1:02d}", "shaanxi", "city", _CITIES_A[city])
        build.staff("city_admin", city_id, PLAN_A)
        for county in range(county_count):
            county_id = build.unit(
                f"{city_id}{county + 1:02d}", city_id, "county", _take(build.rng, build.used, _COUNTY_FIRST, _COUNTY_SECOND, "县")
            )
            build.staff("county_admin", county_id, PLAN_A)
            for school in range(next(schools_of)):
                build.school(f"{county_id}{school + 1:02d}", county_id, PLAN_A, next(classes_of), next(learners_of))
    for unit_id, level in (("sn01", "city"), ("sn0101", "county"), ("sn010101", "school")):
        build.account(unit_id, level, PLAN_A)


def _zhuozhou(build: _Builder, learners: int) -> None:
    """Plan B: one county-level city with its schools."""
    classes = max(1, -(-learners // CLASS_SIZE))
    schools = max(1, -(-classes // 2))
    chain = [("hebei", "", "province", "河北省"), ("baoding", "hebei", "city", "保定市"), ("zhuozhou", "baoding", "county", "涿州市")]
    for unit_id, parent_id, level, name in chain:
        build.unit(unit_id, parent_id, level, name)
        build.staff(f"{level}_admin", unit_id, PLAN_B)
        build.account(unit_id, level, PLAN_B)
    for school, (size, count) in enumerate(zip(_shares(learners, schools), _shares(classes, schools), strict=True)):
        build.school(f"zz{school + 1:02d}", "zhuozhou", PLAN_B, count, size)
    build.account("zz01", "school", PLAN_B)


def populate(teachers: int, seed: int = 2023) -> Population:
    """The same population for the same arguments. Teachers are ordered by class; plan A's come first.

    Raises ValueError for fewer than 10 teachers.
    """
    if teachers < 10:
        raise ValueError(f"teachers: {teachers}; at least 10 are needed for two programmes")
    build = _Builder(seed)
    in_a = round(teachers * SHARE_A)
    _shaanxi(build, in_a)
    _zhuozhou(build, teachers - in_a)
    return build.out

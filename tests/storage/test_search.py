"""Finding a chat again by its words."""

import re
import sqlite3
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.storage import ChatStore, new_id
from menny.storage.database import Database
from menny.storage.schema import MIGRATIONS, UNINDEXED
from menny.storage.search import MESSAGES
from tests.storage.talking import say


def found(store: ChatStore, text: str) -> list[str]:
    return [hit.conversation.title for hit in store.search(text)]


def marked(store: ChatStore, text: str) -> list[str]:
    return [piece for hit in store.search(text) for piece, is_match in hit.excerpt if is_match]


@pytest.fixture
def library(store: ChatStore) -> ChatStore:
    say(store, "Tomatoes", "Yellow leaves want nitrogen, and the Café au lait too.")
    say(store, "Roses", "Water them deep. <b>Never</b> at noon.")
    say(store, "日本語の質問", "東京は日本の首都です。100% sure_thing 🙂")
    return store


@pytest.mark.parametrize(
    ("text", "titles", "match"),
    [
        ("tomatoes", ["Tomatoes"], ["Tomatoes"]),
        ("NITRO", ["Tomatoes"], ["nitrogen"]),
        ("cafe", ["Tomatoes"], ["Café"]),
        ("deep water", ["Roses"], ["Water", "deep"]),
        ("deep tomato", [], []),
        ("never", ["Roses"], ["Never"]),
        ("日本", ["日本語の質問"], ["日本"]),
        ("首都", ["日本語の質問"], ["首都"]),
        ("首都 東京", ["日本語の質問"], ["首都"]),
        ("日本 sure", ["日本語の質問"], ["日本"]),
        ("日本 tomatoes", [], []),
        ("\0", [], []),
        ("\ud800", [], []),
        ("🙂", ["日本語の質問"], ["🙂"]),
        ("sure_thing", ["日本語の質問"], ["sure_thing"]),
        ("%", ["日本語の質問"], ["%"]),
        ("  ", [], []),
    ],
)
def test_words_and_their_beginnings_are_found_and_marked(
    library: ChatStore, text: str, titles: list[str], match: list[str]
) -> None:
    assert found(library, text) == titles
    assert marked(library, text) == match


def test_the_excerpt_is_the_text_as_it_was_written(library: ChatStore) -> None:
    (hit,) = library.search("never")
    assert "".join(piece for piece, _ in hit.excerpt) == "Water them deep. <b>Never</b> at noon."


def test_an_endless_word_makes_no_endless_excerpt(store: ChatStore) -> None:
    say(store, "A picture", "before data:" + "x" * 100_000 + " and after")
    for text, match in (("xxx", "x" * 100 + "…" + "x" * 100), ("before", "before")):
        (hit,) = store.search(text)
        assert (match, True) in hit.excerpt
        assert sum(len(piece) for piece, _ in hit.excerpt) < 500


def test_a_hit_tells_the_message_and_a_chat_is_listed_once(store: ChatStore) -> None:
    chat = say(store, "one apple", "two apples")
    say(store, "three apples", "four", chat)
    (hit,) = store.search("two")
    assert hit.entry == store.path(chat)[1].id
    assert len(store.search("apples")) == 1


def test_at_most_as_many_as_were_asked_for(store: ChatStore) -> None:
    for number in range(12):
        say(store, f"pear {number}", "ok")
    assert len(store.search("pear", limit=5)) == 5


SCRIPTS = [  # a text, what is typed, what is marked in the text (None: it isn't found)
    ("我想买新的iPhone手机", "iPhone", "iPhone"),
    ("我想买新的iPhone手机", "iphone 手机", "iPhone"),
    ("我想买新的iPhone手机", "的iphone手", "的iPhone手"),
    ("我想买新的iPhone手机", "Phone", None),
    ("我用Python3写代码", "python", "Python"),
    ("2024年の東京オリンピック", "2024", "2024"),
    ("ขายiPadมือสอง", "ipad", "iPad"),
    ("новыйтелефон手机", "новый", "новый"),
    ("우리학교에서만나요", "학교", "학교"),
    ("우리학교에서 Netflix를 봐요", "netflix", "Netflix"),
    ("한국어를 공부합니다", "공부", "공부"),
    ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ("ｶﾒﾗを買った", "カメラ", "ｶﾒﾗ"),
    ("カメラを買った", "ｶﾒﾗ", "カメラ"),
    ("ｶﾞﾗｽの靴", "ガラス", "ｶﾞﾗｽ"),
    ("ガラスの靴", "ｶﾞﾗｽ", "ガラス"),
    ("か\u3099らす", "がら", "か\u3099ら"),
    ("がらす", "から", None),
    ("ＡＢＣ会社のｉＰｈｏｎｅ", "iphone", "ｉＰｈｏｎｅ"),
    ("my iPhone", "ｉＰｈｏｎｅ", "iPhone"),
    ("ﬁnd the oﬀice", "find", "ﬁnd"),
    ("about 5 m² of it", "m2", "m²"),
    ("about 5 m² of it", "m²", "m²"),
    ("𝐁𝐨𝐥𝐝 claims", "bold", "𝐁𝐨𝐥𝐝"),
    ("Chapter Ⅷ", "viii", "Ⅷ"),
    ("日本のCafé", "cafe", "Café"),
    ("in der Straße", "strasse", "Straße"),
    ("in der Straße", "STRASSE", "Straße"),
    ("in der Straße", "stras", "Straße"),
    ("in der Strasse", "straße", "Strasse"),
    ("der Fußballspielstraßenweg", "fussballspielstrassen", "Fußballspielstraßenweg"),
    ("the class of glass", "glass", "glass"),
    ("Cafe\u0301 au lait", "Café", "Cafe\u0301"),
    ("Café au lait", "cafe\u0301", "Café"),
    ("ภาษาไทยง่ายมาก", "ไทย", "ไทย"),
    ("ភាសាខ្មែរ", "ខ្មែរ", "ខ្មែរ"),
    ("人々は々", "人々", "人々"),
    ("北京、上海。", "上海", "上海"),
    ("𠮷野家で食べた", "𠮷野", "𠮷野"),
    ("मैं हिन्दी में लिखता हूँ", "हिन्दी", "हिन्दी"),
    ("हिन्दी में लिखो", "हिन", "हिन"),
    ("नदी के किनारे हवा दूर", "हिन्दी", None),
    ("আমার সোনার বাংলা", "বাংলা", "বাংলা"),
    ("ব\u09c7\u09beন আছে", "ব\u09cbন", "ব\u09c7\u09beন"),
    ("தமிழ் மொழி", "மொழி", "மொழி"),
    ("மழை", "மொழி", None),
    ("हिन्दी में iPhone लो", "iphone", "iPhone"),
    ("قَالَ السَّلَامُ عَلَيْكُمْ", "السلام", "السَّلَامُ"),
    ("السلام عليكم", "السَّلَامُ", "السلام"),
    ("مـــرحبا بكم", "مرحبا", "مـــرحبا"),
    ("أهلا وسهلا", "أهلا", "أهلا"),
    ("שָׁלוֹם עולם", "שלום", "שָׁלוֹם"),
    ("שלום עולם", "שָׁלוֹם", "שלום"),
    ("می\u200cخواهم بروم", "میخواهم", "می\u200cخواهم"),
    ("میخواهم بروم", "می\u200cخواهم", "میخواهم"),
    ("an extra\u00adordinary day", "extraordinary", "extra\u00adordinary"),
    ("zero\u200bwidth", "zerowidth", "zero\u200bwidth"),
    ("a family 👩\u200d👩\u200d👧 here", "👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
]


@pytest.mark.parametrize(("written", "typed", "match"), SCRIPTS)
def test_a_word_is_found_in_every_script_and_where_scripts_meet(
    store: ChatStore, written: str, typed: str, match: str | None
) -> None:
    say(store, "Question", f"Before it. {written} And after.")
    say(store, "Nothing", "to be found here")
    assert marked(store, typed) == ([] if match is None else [match])
    assert found(store, typed) == ([] if match is None else ["Question"])
    store.rename(store.conversations()[0].id, written)  # titles are searched alike
    assert len(found(store, typed)) == (0 if match is None else 2)


SIGNS = [  # a text, what is typed, what is marked in the text (None: it isn't found)
    ("I write C++ and Rust", "C++", "C++"),
    ("I write C and Rust", "c++", None),
    ("I write C++ and Rust", "(c++)", "C++"),
    ("I write C++ and Rust", "c rust", "C"),
    ("Is C# or F# older?", "f#", "F#"),
    ("Is F or C older?", "f#", None),
    ("AT&T and R&D", "at&t", "AT&T"),
    ("at a table", "at&t", None),
    ("50 % off, 50% more", "50%", "50 %"),
    ("50 or so", "50%", None),
    ("it costs $5.20", "$5", "$5"),
    ("it costs 5 dollars", "$5", None),
    ("20€ or €20", "€20", "€20"),
    ("ask @anna about it", "@anna", "@anna"),
    ("#release is a tag", "#release", "#release"),
    ("a release", "#release", None),
    ("then x += 1;", "x+=", "x +="),
    ("list.map(f) -> g", "list.map(f)", "list"),  # punctuation doesn't count
    ("ＣＣ＋＋ and Ｃ＋＋", "C++", "Ｃ＋＋"),
    ("写C++代码", "c++", "C++"),
    ("all ok👍 then", "ok👍", "ok👍"),
    ("all ok then", "ok👍", None),
    ("cats and dogs", "cats & dogs", "cats"),
    ("Objective-C++", "objective-c++", "Objective-C++"),
]


@pytest.mark.parametrize(("written", "typed", "match"), SIGNS)
def test_a_sign_at_a_word_is_searched_for_too(store: ChatStore, written: str, typed: str, match: str | None) -> None:
    say(store, "Question", f"Before it. {written} And after.")
    assert marked(store, typed)[:1] == ([] if match is None else [match])
    store.rename(store.conversations()[0].id, written)
    assert len(found(store, typed)) == (0 if match is None else 1)


@given(
    st.text("我手机日本かなカナ한국어", min_size=1, max_size=4),
    st.text("abcxyz", min_size=1, max_size=5),
    st.text("我手机日本かなカナ한국어", min_size=1, max_size=4),
)
def test_a_latin_word_between_unspaced_ones_is_found_by_each_part(before: str, word: str, after: str) -> None:
    store = ChatStore()
    say(store, "Q", f"{before}{word}{after}")
    for typed in (word, word.upper(), word[:1], before, after, f"{before[-1]}{word}", f"{after} {word}"):
        assert found(store, typed) == ["Q"], typed
    store.close()


@pytest.mark.parametrize("word", ["apple", "りんご", "🍎"])
def test_a_chat_with_very_many_hits_hides_no_other(store: ChatStore, word: str) -> None:
    little = say(store, "A pie", f"with one {word} and a good deal of other things in it, such as flour and butter")
    full = say(store, "Fruit", word)
    with store._database.write() as db:
        row = db.execute("SELECT * FROM messages WHERE conversation = ? AND parent IS NOT NULL", (full,)).fetchone()
        for number in range(1500):
            db.execute(
                "INSERT INTO messages (id, conversation, parent, role, text, status, created) "
                "VALUES (?, ?, ?, 'user', ?, 'whole', 0)",
                (f"{number:022}", full, row["id"], word),
            )
    assert {hit.conversation.id for hit in store.search(word)} == {little, full}
    assert len(store.search(word, limit=1)) == 1


def test_a_store_of_the_version_before_finds_them_too(file: Path) -> None:
    former = Database(file, migrations=MIGRATIONS[:1])
    former.close()
    db = sqlite3.connect(file)
    db.execute("INSERT INTO conversations (id, title, created, updated) VALUES ('chat', 'Old', 0, 0)")
    db.execute(
        "INSERT INTO messages (id, conversation, role, text, status, created) "
        "VALUES ('message', 'chat', 'user', '我想买新的iPhone手机', 'whole', 0)"
    )
    db.commit()
    db.close()
    store = ChatStore(file)
    assert found(store, "iphone") == found(store, "手机") == ["Old"]
    with store._database.read() as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {MESSAGES.unindexed}").fetchall()
    assert any("messages_unindexed" in row["detail"] for row in plan)
    store.close()


def test_no_mark_of_a_living_script_parts_a_word_for_the_search() -> None:
    parted = [
        character
        for character in map(chr, range(0x370, 0x3040))
        if unicodedata.category(character) in ("Mn", "Mc")
        and not re.match(f"[{UNINDEXED}]", character)
        and not "\u1dc0" <= character <= "\u20ff"  # of phonetics and of signs
    ]
    assert parted == []


def test_every_letter_that_has_another_shape_is_read_by_the_search() -> None:
    unread = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if character.isalnum()
        and unicodedata.normalize("NFKC", character) != unicodedata.normalize("NFC", character)
        and not re.match(f"[{UNINDEXED}]", character)
    ]
    assert unread == ["\u037a"]  # a Greek mark, which is no letter by itself


@given(st.text(max_size=40) | st.sampled_from(['"', "a AND", "NEAR(", "title:x", "*", "-", "^a", "a OR b'"]))
def test_no_text_is_a_fault(text: str) -> None:
    store = ChatStore()
    say(store, text or "x", text)
    store.search(text)
    store.close()


def test_thoughts_are_searched_on_demand_only() -> None:
    store = ChatStore()
    chat = new_id()
    _, reply = store.ask(chat, None, "A number?")
    store.finish(reply.id, "Seventeen.", "stop", thought="Eighteen is divisible; Überlegung: 素数.")
    for words in ("divisible", "uberleg", "素数", "eighteen div"):
        assert store.search(words) == []
        (hit,) = store.search(words, in_thoughts=True)
        assert (hit.conversation.id, hit.entry) == (chat, reply.id)
        assert any(is_match for _, is_match in hit.excerpt)
    assert store.search("seventeen")[0].entry == reply.id
    assert store.search("Seventeen divisible", in_thoughts=True) == []
    store.delete(chat)
    assert store.search("divisible", in_thoughts=True) == []

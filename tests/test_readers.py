"""Text, code, Markdown, MDX, reStructuredText, HTML and notebooks: words, titles, headings, and what is refused."""

import json
import os
import time

import pytest

from instructsearch import plugins
from instructsearch.errors import ReadError
from instructsearch.readers import File, Limits, read
from instructsearch.records import Document, Mark


@pytest.fixture
def reading(tmp_path):
    """Write a file and return what reading it gives, errors as their reasons."""

    def write(name, content, limits=None):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        results = list(read(File(str(path), str(tmp_path), 0, 0), limits))
        for result in results:
            if isinstance(result, ReadError):
                assert result.where == str(path)
            else:
                assert (result.key, result.source) == (str(path), str(path))
        return [result.reason if isinstance(result, ReadError) else result for result in results]

    return write


def headings(document):
    """Return the headings by the words that stand where they are marked."""
    marks = [mark for mark in document.marks if mark.field == "heading"]
    return [(document.text[mark.start :].split("\n")[0], mark.value) for mark in marks]


def test_plain_text_is_kept(reading):
    [document] = reading("a.txt", "one\r\ntwo\x0cthree\n")
    assert (document.text, document.title, document.format) == ("one\ntwo\nthree\n", "", "text")
    assert document.metadata == {"type": "text"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark_is_read(reading, encoding):
    assert reading("a.txt", "näin 漢".encode(encoding))[0].text == "näin 漢"


@pytest.mark.parametrize(
    "name", ["a.txt", "a.md", "a.rst", "a.py", "a.html", "a.mdx", "a.ipynb", "a.json", "a.unknown"]
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9 au\nlait", "not UTF-8: byte 0xe9 in line 1; convert it, for example with: iconv "),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "binary, not text"),
        (b"\x89\x01\x02\xff", "binary, not text"),
        ("näin".encode("utf-16-le"), "binary, not text (or UTF-16 without a byte order mark: save it as UTF-8)"),
        (b"\xff\xfea", "not UTF-16: "),
    ],
    ids=["latin-1", "png", "no zero", "utf-16", "odd utf-16"],
)
def test_what_is_no_text_is_refused(reading, name, content, reason):
    [said] = reading(name, content)
    assert said.startswith(reason)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.mdx", "a.html", "a.ipynb", "a.pdf", "a.docx", "a.json"])
def test_a_file_over_the_limit_is_refused(reading, name):
    assert reading(name, "x" * 101, Limits(file_bytes=100)) == ["larger than the limit of 100 bytes (file_bytes)"]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.mdx", "a.html", "a.py"])
def test_text_over_the_limit_is_refused(reading, name):
    [reason] = reading(name, "x" * 101, Limits(characters=100))
    assert reason == "holds more text than the limit of 100 characters (characters)"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "a.html", "a.mdx", "a.py"])
@pytest.mark.parametrize("content", ["", " \n\t\n", "\ufeff"])
def test_a_file_without_text_gives_nothing(reading, name, content):
    assert reading(name, content) == []


def test_a_file_that_is_gone_or_no_file_is_refused(tmp_path):
    for name, reason in (("gone.txt", "cannot be read: no such file"), ("gone.html", "cannot be read: no such file")):
        [error] = read(File(str(tmp_path / name), str(tmp_path), 0, 0))
        assert error.reason.startswith(reason)
    for name in ("pipe.txt", "pipe.html", "pipe.csv"):
        os.mkfifo(tmp_path / name)
        [error] = read(File(str(tmp_path / name), str(tmp_path), 0, 0))
        assert (error.where, error.reason) == (str(tmp_path / name), "not a regular file")


def test_code_is_kept_with_its_language(reading):
    [document] = reading("walk.py", "def f():\n\treturn 1\n")
    assert (document.text, document.title, document.format) == ("def f():\n\treturn 1\n", "", "code:python")
    assert document.metadata == {"type": "code", "language": "python"}


MARKDOWN = """preface

Guide
=====

text # no heading

### 1. Install `it` ###

```sh
# no heading
```

## [Use](https://x.org) **it** <a id="x"></a>
    # code
Under
-----
- item
---
"""


def test_markdown_is_kept_and_its_headings_marked_by_their_path(reading):
    [document] = reading("a.md", MARKDOWN)
    assert (document.text, document.title, document.format) == (MARKDOWN, "Guide", "markdown")
    assert headings(document) == [
        ("Guide", "Guide"),
        ("### 1. Install `it` ###", "Guide > 1. Install it"),
        ('## [Use](https://x.org) **it** <a id="x"></a>', "Guide > Use it"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('---\ntitle: "Front"\nx: y\n---\n# Head', "Front"),
        ("---\nx: y\n---\n# Head", "Head"),
        ("## Second\n\n# First\n", "First"),
        ('<h1 align="center">\n  <img src="x"> Big &amp; bold\n</h1>\n\n## Other', "Big & bold"),
        ("no heading", ""),
        ("####### seven", ""),
        ("#hash", ""),
        ("~~~\n# in code\n~~~", ""),
        ("````\n```\n# in code\n````\n# out", "out"),
    ],
)
def test_markdown_is_titled_by_what_it_shows(reading, text, title):
    assert reading("a.md", text)[0].title == title


def test_embedded_pictures_are_left_out_of_markdown(reading):
    [document] = reading("a.md", f"before ![x](data:image/png;base64,{'iVBOR' * 99}=) after")
    assert document.text == "before ![x](data:image/png;base64,) after"


def test_marks_of_many_long_headings_stay_small(reading):
    [document] = reading("a.md", "".join(f"{'#' * level} {'long ' * 500}\n" for level in (1, 2, 3, 4, 5, 6)) * 50)
    assert max(len(mark.value) for mark in document.marks) < 800


@pytest.mark.parametrize(
    "text",
    [
        "<h1 " * 500_000,
        "# " + "[" * 2_000_000,
        "`" * 2_000_000,
        "=\n" * 500_000,
        "---\ntitle: a" + " " * 1_000_000 + "b\n---\n",
    ],
    ids=lambda text: text[:5],
)
@pytest.mark.parametrize("name", ["a.md", "a.rst"])
def test_hostile_markup_takes_no_more_time_than_its_length_warrants(reading, name, text):
    started = time.monotonic()
    reading(name, text)
    assert time.monotonic() - started < 10


RST = """=======
 Guide
=======

text

Install ``it``
--------------

On :ref:`Linux <linux>`
~~~~~~~~~~~~~~~~~~~~~~~

Short
---

Use
---

    indented
    --------
"""


def test_rst_headings_go_by_their_adornment(reading):
    [document] = reading("a.rst", RST)
    assert (document.text, document.title, document.format) == (RST, "Guide", "text")
    assert headings(document) == [
        ("=======", "Guide"),
        ("Install ``it``", "Guide > Install it"),
        ("On :ref:`Linux <linux>`", "Guide > Install it > On Linux"),
        ("Use", "Guide > Use"),
    ]


MDX = """---
title: Setup
---
import { Tabs } from '@theme/Tabs';
import X from "./x";

export const meta = {
  a: 1,
};

export the data as CSV.

<Tabs items={["a", {b: 1}]}>
<Tab title="Python" onClick={() => x > 1}>
Use `<Tabs>` here.{/* a comment */} See <a href="x">this</a>, <https://a.b>.

  ```python
  import os  # <Kept/>
  ```
</Tab>
</Tabs>
## Next
"""


def test_mdx_keeps_what_is_said_and_leaves_out_what_is_programmed(reading):
    [document] = reading("a.mdx", MDX)
    assert " ".join(document.text.split()) == (
        "--- title: Setup --- export the data as CSV. Python Use `<Tabs>` here. See this, <https://a.b>. "
        "```python import os # <Kept/> ``` ## Next"
    )
    assert (document.title, document.format, document.metadata) == ("Setup", "markdown", {"type": "mdx"})
    assert headings(document) == [("## Next", "Next")]


HTML = """<!doctype html><html><head><title>A &amp;
 B</title><style>p {}</style><script>var x = "no";</script></head>
<body><nav>menu</nav><div hidden>unseen</div><p style="color:red; display: none">unseen</p><!-- unseen -->
<h1>Guide <a class="headerlink" href="#">¶</a></h1><p>One <b>bold</b>
 line.<br>Next.</p><p>Two.</p><h2>Use<br>it</h2><ul><li>a</li><li>b <i>c</i></li></ul>
<pre><code>x = 1
  y = 2
</code></pre><table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
<img src="x" alt="A chart"><noscript>no</noscript><template>no</template></body></html>"""


def test_html_is_read_as_the_lines_that_a_reader_sees(reading):
    [document] = reading("a.html", HTML)
    assert document.text == (
        "# Guide\n\nOne bold line.\nNext.\n\nTwo.\n\n## Use it\n\n- a\n- b c\n\n```\nx = 1\n  y = 2\n```\n\n"
        "k | v |\n1 | 2 |\n\nA chart"
    ).replace("\\\n", "\n")
    assert (document.title, document.format, document.metadata) == ("A & B", "markdown", {"type": "html"})
    assert headings(document) == [("# Guide", "Guide"), ("## Use it", "Guide > Use it")]


def test_the_main_part_of_a_page_stands_for_it_if_it_holds_most(reading):
    assert (
        reading("a.html", "<div>around</div><main><p>The long main part.</p></main>")[0].text == "The long main part."
    )
    assert "around" in reading("a.html", "<div>around and about everything</div><main>x</main>")[0].text


def test_html_is_decoded_as_it_declares(reading):
    for declared in (
        b'<meta charset="iso-8859-1">',
        b'<meta http-equiv="x" content="text/html; charset=windows-1252">',
    ):
        assert reading("a.html", declared + b"<p>caf\xe9 \x93q\x94")[0].text == "café “q”"
    assert reading("a.html", b'<meta charset="nonesuch"><p>x') == [
        "declares an encoding that does not exist: 'nonesuch'"
    ]


def test_html_without_a_title_goes_by_its_heading(reading):
    assert reading("a.html", "<h2>Small</h2><h1>Large</h1>")[0].title == "Large"


def notebook(*cells, **about):
    return json.dumps({"cells": list(cells), "metadata": about, "nbformat": 4})


def test_a_notebook_is_its_cells_without_their_outputs(reading):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text ![x](data:image/png;base64," + "A" * 200 + ")"]},
        {"cell_type": "code", "source": "", "outputs": []},
        {"cell_type": "code", "source": "x = 1\n\ny", "outputs": [{"text": ["secret"]}]},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "markdown", "source": "## Part"},
    ]
    [document] = reading("a.ipynb", notebook(*cells, language_info={"name": "Python"}))
    assert document.text == (
        "# Title\ntext ![x](data:image/png;base64,)\n\n```python\nx = 1\n\ny\n```\n\nraw\n\n## Part"
    )
    assert (document.title, document.format) == ("Title", "markdown")
    assert document.metadata == {"type": "notebook", "language": "python"}
    assert headings(document) == [("# Title", "Title"), ("## Part", "Title > Part")]
    cells = [(mark.value, document.text[mark.start :][:5]) for mark in document.marks if mark.field == "cell"]
    assert cells == [(1, "# Tit"), (3, "```py"), (4, "raw\n\n"), (5, "## Pa")]


def test_a_notebook_of_the_old_format_is_read(reading):
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"], "language": "python"}]}], "nbformat": 3}
    assert reading("a.ipynb", json.dumps(old))[0].text == "```\nx = 1\n```"


@pytest.mark.parametrize(
    "content", ['{"cells": 3}', "[1]", '{"cells": [1]}', '{"cells": [{"source": 3}]}', "{}", '"x"']
)
def test_json_that_is_no_notebook_is_refused(reading, content):
    assert reading("a.ipynb", content) == ["JSON, but not that of a notebook"]


def test_a_broken_notebook_is_refused(reading):
    assert reading("a.ipynb", '{"cells": [}')[0].startswith("not JSON: expecting value at column 12")
    assert reading("a.ipynb", '{"cells": ' + "[" * 100_000) == ["JSON nested too deeply to be read"]


def test_a_reader_of_another_package_reads_its_suffix(reading, monkeypatch):
    def read_odd(path, limits):
        if "bad" in path:
            raise RuntimeError("no such luck")
        yield Document(path, "read by a plugin", "Title", marks=(Mark(0, "page", 1),))

    monkeypatch.setattr(plugins, "_registered", {("readers", "odd"): read_odd})
    assert reading("a.odd", b"\xff")[0].text == "read by a plugin"
    assert reading("bad.odd", b"\xff") == ["RuntimeError: no such luck"]

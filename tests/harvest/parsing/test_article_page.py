"""Articles: what the fixtures leave open."""

import json

import pytest

from tagsage.harvest.article_page import parse_article_page
from tagsage.harvest.records import PageError
from tests.harvest.parsing.rendering import page_of

POST = "c0ffee123456"
OTHER = "deadbeef0123"
URL = f"https://medium.com/@ann/graphs-{POST}"
TITLE = '<meta property="og:title" content="A title"/>'
MARK = '<meta property="article:published_time" content="2024-01-02"/>'


def canonical(url):
    return f'<link rel="canonical" href="{url}"/>'


def json_ld(*nodes):
    return "".join(
        f'<script type="application/ld+json">{json.dumps(node)}</script>' for node in nodes
    )


def article(**fields):
    return {"@type": "Article", "headline": "From JSON-LD", **fields}


def read(head="", url=URL, state=None):
    return parse_article_page(
        f"<head>{head}</head>" if state is None else page_of(state, head), url
    )


@pytest.mark.parametrize(
    ("url", "link", "key", "shown"),
    [
        ("https://a.example/x?y", "", "a.example/x", "https://a.example/x"),
        ("https://a.example/x", "https://a.example/z?q", "a.example/z", "https://a.example/z"),
        ("https://a.example/x", f"http://A.example/x-{POST}", POST, f"http://a.example/x-{POST}"),
        ("https://a.example/x", f"https://medium.com/p/{POST}", "a.example/x", None),
        ("https://a.example/x", "https://b.example/x", "a.example/x", None),
        ("https://a.example/x", "https://a.example:8443/y", "a.example/x", None),
        ("https://a.example/x", "javascript:alert(1)", "a.example/x", None),
        (URL, f"https://medium.com/p/{OTHER}", POST, URL),
    ],
)
def test_a_canonical_link_counts_on_the_page_s_own_host_only(url, link, key, shown):
    record = read(TITLE + canonical(link), url).article
    assert (record.key, record.url) == (key, shown or url)


@pytest.mark.parametrize("link", ["", canonical(f"https://medium.com/p/{OTHER}")])
def test_the_post_of_the_state_has_its_own_id_whatever_the_link_says(link):
    state = {f"Post:{POST}": {"title": "T"}, f"Post:{OTHER}": {"title": "Not this"}}
    record = read(link, URL, state).article
    assert (record.key, record.url, record.title) == (POST, f"https://medium.com/p/{POST}", "T")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (None, "gone"),
        ({"__typename": "NotFound"}, "gone"),
        ({"__typename": "ForbiddenPost"}, "gone"),
        ({"__typename": "Post", "id": POST, "title": "Inline"}, "open"),
        ({"__ref": f"Post:{POST}"}, "open"),
    ],
)
def test_the_state_s_answer_tells_whether_the_post_is_there(answer, status):
    state = {"ROOT_QUERY": {"postResult({})": answer}}
    if status == "open":
        state[f"Post:{POST}"] = {"title": "By reference"}
    assert read("", "https://a.example/x", state).status == status


def test_another_post_that_is_gone_does_not_make_this_one_gone():
    state = {"ROOT_QUERY": {f'postResult({{"id":"{OTHER}"}})': None}}
    assert read(json_ld(article()), URL, state).article.title == "From JSON-LD"


@pytest.mark.parametrize(
    "kind",
    ["Article", "NewsArticle", ["Thing", "BlogPosting"], "http://schema.org/TechArticle",
     "SocialMediaPosting", "Report"],
)  # fmt: skip
def test_json_ld_of_an_article_s_kind_is_read(kind):
    assert read(json_ld(article(**{"@type": kind}))).article.title == "From JSON-LD"


@pytest.mark.parametrize("kind", ["WebSite", "ArticleList", None, 7, [None], {}, "x" * 10_000])
def test_json_ld_of_another_kind_is_none(kind):
    with pytest.raises(PageError, match=r"^the page tells of no article$"):
        read(json_ld(article(**{"@type": kind})))


@pytest.mark.parametrize(
    "blocks",
    [
        [article(headline="Other"), article(url=URL)],
        [[article(headline="Other"), [article(mainEntityOfPage={"@id": URL + "?x"})]]],
        [{"@graph": [article(headline="Other"), {"@graph": [article(**{"@id": URL + "#it"})]}]}],
        [{"@type": "WebPage", "headline": "Other"}, None, 7, "x", article()],
    ],
)
def test_of_several_articles_in_json_ld_the_page_s_own_is_read(blocks):
    assert read(json_ld(*blocks)).article.title == "From JSON-LD"


@pytest.mark.parametrize(
    ("keywords", "tags"),
    [
        (["Tag:Graphs", "Topic:X", "Publication:y", "Tag:", "Tag:Graphs"], ("Graphs",)),
        (["Lite:true", "LayerCake:3"], ()),
        (["graphs", " C++: a language ", "graphs", 7], ("graphs", "C++: a language")),
        ("graphs, data science,,graphs", ("graphs", "data science")),
        ([], ()),
        ("", ()),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_keywords_become_tags(keywords, tags):
    assert read(json_ld(article(keywords=keywords))).article.tags == tags


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("Ann Lee", "Ann Lee"),
        ({"@type": "Person", "name": " Ann\nLee "}, "Ann Lee"),
        ([{"name": "Ann"}, "Bo", {"name": "Ann"}, {"url": "x"}, None], "Ann, Bo"),
        ({"@id": "#ann"}, None),
        (["x"] * 5000, "x"),
        ([], None),
        (7, None),
    ],
)
def test_an_author_is_one_name_or_several(author, name):
    assert read(json_ld(article(author=author))).article.author == name


@pytest.mark.parametrize("count", [100, 101, 5000])
@pytest.mark.parametrize("prefix", ["", "Tag:"])
@pytest.mark.parametrize("joined", [True, False])
def test_an_article_has_a_hundred_tags_at_most(count, prefix, joined):
    words = [f"{prefix}tag {number}" for number in range(count)]
    page = read(json_ld(article(keywords=",".join(words) if joined else words)))
    assert page.article.tags == tuple(f"tag {number}" for number in range(100))
    told = "keywords: tags after the first 100"
    assert page.damage == ((told,) if count > 100 else ())


def test_broken_json_ld_is_told_and_the_rest_is_read():
    page = read('<script type="application/ld+json">{"a":</script>' + json_ld(article()))
    assert page.article.title == "From JSON-LD"
    assert page.damage == ("JSON-LD is broken: Expecting value at character 5",)


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ('<meta content="A &gt; B > C" property=og:title>', "A > B > C"),
        ("<META NAME='OG:Title' CONTENT='Tom &amp; Jerry'>", "Tom & Jerry"),
        ("<meta property=og:title content=it's>", "it's"),
        (TITLE + '<meta property="og:title" content="Second"/>', "A title"),
        ('<meta property="og:title" content=" "/>' + TITLE, "A title"),
        ('<!-- <meta property="og:title" content="Commented"/> -->' + TITLE, "A title"),
        ('<script>"<meta property=og:title content=Script>"</script>' + TITLE, "A title"),
        ('<title>On <meta property="og:title" content="x"></title>' + TITLE, "A title"),
        ('<meta x<y="1" property="og:title" content="Odd names"/>', "Odd names"),
        (f'<meta property="og:title" content="{"x" * 9000}"/>' + TITLE, "A title"),
        (TITLE + '</head><body><meta property="og:title" content="Body"/>', "A title"),
        ("<title>Medium</title>" + MARK, None),
        ("<title>A title | Medium</title>" + MARK, "A title"),
        ("<title>A | B | by Ann Lee | Medium</title>" + MARK, "A | B"),
        ("<title>A title | by Ann | Some Publication | Medium</title>" + MARK, "A title"),
        ("<title>| by Ann | Medium</title>" + MARK, None),
        ("<title>The medium is the message</title>" + MARK, "The medium is the message"),
        ('<meta property="og:title" content="Medium"/><title>A title</title>', "A title"),
    ],
)
def test_meta_elements_are_read_as_a_browser_reads_them(head, title):
    assert read(head).article.title == title


@pytest.mark.parametrize(
    ("body", "subtitle"),
    [
        ('<h2 id="1" class="pw-subtitle-paragraph ab">The <b>sub</b>title</h2>', "The subtitle"),
        (
            '<p class="ab pw-subtitle-paragraph">One</p><p class="pw-subtitle-paragraph">2</p>',
            "One",
        ),
        ("<style>.pw-subtitle-paragraph{}</style><p class=pw-subtitle-paragraph>It</p>", "It"),
        ("<p class='pw-subtitle-paragraph'> </p>", "From the head"),
        ("the class pw-subtitle-paragraph", "From the head"),
        ("<p class='pw-subtitle-paragraph", "From the head"),
    ],
)
def test_the_marked_paragraph_goes_before_the_description(body, subtitle):
    head = TITLE + '<meta name="description" content="From the head"/>'
    page = parse_article_page(f"<head>{head}</head><body>{body}</body>", URL)
    assert page.article.subtitle == subtitle


@pytest.mark.parametrize(
    ("html", "url", "reason"),
    [
        ("", URL, "the page tells of no article"),
        ("<title>Sign in</title>", URL, "the page tells of no article"),
        ("__APOLLO_STATE__ = {", URL, "the state object is broken: Expecting property name"),
        (TITLE, "ftp://a.example/x", "the page's address is no http or https URL"),
        (json_ld({"@type": "Article"}), URL, "the page tells nothing of its article"),
    ],
)
def test_a_page_without_an_article_is_refused_with_the_reason(html, url, reason):
    with pytest.raises(PageError) as caught:
        parse_article_page(html, url)
    assert str(caught.value).startswith(reason)

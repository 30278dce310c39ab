"""Media that engines may be sent to load: nobody else can be reached through a request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy import media
from understudy.gateway.policy.media import bad_media, is_allowed

HOSTS = ("img.example.com", "cdn.example.com:8443", "plain.example.com:80", "10.0.0.9")


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,AAAA",
        "DATA:image/png;base64,AAAA",
        "https://img.example.com/a.png",
        "https://img.example.com",
        "https://img.example.com?x=1",
        "http://img.example.com/a.png?b=c%20d&e=http://other/",
        "https://img.example.com:443/a.png",
        "HTTPS://IMG.Example.COM/a.png",
        "https://cdn.example.com:8443/a.png",
        "http://plain.example.com/a.png",
        "http://plain.example.com:80/a.png",
        "https://10.0.0.9/a.png",
        "https://img.example.com/@other.example.com/",
    ],
)
def test_data_and_the_hosts_that_are_listed_may_be_loaded(url: str) -> None:
    assert is_allowed(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        " data:image/png;base64,AAAA",
        "//img.example.com/a.png",
        "https:/img.example.com/a.png",
        "https:img.example.com/a.png",
        "file:///etc/passwd",
        "ftp://img.example.com/a.png",
        "gopher://img.example.com/",
        "https://other.example.com/a.png",
        "https://evil-img.example.com/a.png",
        "https://img.example.com.evil.example/a.png",
        "https://sub.img.example.com/a.png",
        "https://img.example.com./a.png",
        "https://img.example.com:8443/a.png",
        "https://img.example.com:/a.png",
        "https://img.example.com:443:80/a.png",
        "https://img.example.com:0443/a.png",
        "http://img.example.com:443/a.png",
        "https://plain.example.com/a.png",
        "https://cdn.example.com/a.png",
        "https://img.example.com@other.example.com/",
        "https://user@img.example.com/a.png",
        "https://user:pass@img.example.com/a.png",
        "https://img.example.com%2eother.example.com/",
        "https://img.example.com%00.other.example.com/",
        "https://img.example.com\\@other.example.com/",
        "https://img.example.com/\\other",
        "https://other.example.com\\img.example.com/",
        "https://img.example.com#@other.example.com/",
        "https://img.example.com/a b.png",
        "https://img.example.com/a\r\nX: y",
        "https://img.example.com\t/a.png",
        "https://img.example.com/a.png\n",
        "\nhttps://img.example.com/a.png",
        "https://\u0456mg.example.com/a.png",
        "https://img\u3002example\u3002com/a.png",
        "https://xn--mg-gia.example.com/a.png",
        "https://img.example.com/\u00e9.png",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.9]/",
        "https://10.0.0.9.evil.example/",
        "https://010.0.0.9/",
        "https://localhost/",
        "https://img.example.com/\u212a",
        "https://\u017fimg.example.com/",
    ],
)
def test_nothing_else_may(url: str) -> None:
    assert not is_allowed(url, HOSTS)


def test_without_a_list_only_data_may_be_loaded() -> None:
    assert not is_allowed("https://img.example.com/a.png", ())
    assert is_allowed("data:,x", ())


@given(st.text())
def test_no_text_raises_and_none_reaches_a_host_that_it_does_not_name(text: str) -> None:
    url = f"https://{text}"
    if is_allowed(url, HOSTS):
        assert text.lower().startswith(tuple(HOSTS)) or text.lower().startswith("plain.example.com")


def said(part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]}


OUT = "https://other.example.com/x"


@pytest.mark.parametrize(
    "body",
    [
        said({"type": "image_url", "image_url": {"url": OUT}}),
        said({"type": "image_url", "image_url": OUT}),
        said({"type": "image_url", "image_url": [OUT]}),
        said({"type": "image_url", "image_url": {"image_url": {"url": OUT}}}),
        said({"image_url": OUT}),
        said({"type": "audio_url", "audio_url": {"url": OUT}}),
        said({"type": "video_url", "video_url": {"url": OUT}}),
        said({"type": "input_image", "image_url": OUT, "detail": "auto"}),
        said({"type": "input_file", "file_url": OUT}),
        said({"type": "image", "image": OUT}),
        said([{"type": "image_url", "image_url": {"url": OUT}}]),
        {"messages": [{"role": "tool", "content": [{"type": "video_url", "video_url": {"url": OUT}}]}]},
        {"messages": [[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": OUT}}]}]]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": OUT}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": OUT}]}]},
        {"input": ["look", {"image_url": OUT}]},
        {"documents": [{"content": [{"type": "image_url", "image_url": {"url": OUT}}]}]},
        {"query": {"content": [{"type": "video_url", "video_url": {"url": OUT}}]}},
        {"added_by_a_deployment": {"image_url": OUT}},
    ],
)
def test_a_url_is_found_wherever_engines_would_look_for_it(body: dict[str, Any]) -> None:
    found = bad_media(body, ("img.example.com",))
    assert found is not None
    assert (found.status, found.code, found.param) == (400, "invalid_request", next(iter(body)))
    assert bad_media(body, ("other.example.com",)) is None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "prompt_embeds", "data": "AAAA"},
        {"audio_embeds": {"a": "AAAA"}},
        {"type": "image_pil", "image_pil": None},
        {"type": "image_url", "image_url": None, "uuid": "somebody-elses"},
    ],
)
def test_tensors_and_names_in_the_shared_cache_are_not_taken(part: dict[str, Any]) -> None:
    found = bad_media(said(part), ("img.example.com",))
    assert found is not None
    assert "not taken from clients" in found.message


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": OUT}]},
        said({"type": "text", "text": OUT}),
        said({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}),
        said({"type": "image_url", "image_url": None}),
        said({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        {"messages": [{"role": "assistant", "content": None, "audio": {"id": "a"}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": OUT}}]}]},
        {"tools": [{"function": {"parameters": {"properties": {"image_url": {"type": "string"}}}}}]},
        {"input": [OUT, OUT]},
        {"input": [[1, 2], [3]]},
        {"type": 7, "messages": [{"type": ["x"]}]},
    ],
)
def test_texts_and_data_go_on(body: dict[str, Any]) -> None:
    assert bad_media(body, ()) is None


KEYS = st.sampled_from(["type", "text", "content", "image_url", "input_audio", "uuid", "image"])
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["look", "image_embeds", "data:,x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3) | st.dictionaries(KEYS, JSON, max_size=3))
def test_what_is_taken_for_text_holds_no_medium(value: Any) -> None:
    if media._is_text(value):
        assert list(media._media(value)) == []
        assert list(media._sizes(value)) == []

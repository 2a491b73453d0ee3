"""Maps over HTTP: drawn in the background, kept as long as the collection is the same, and refused with a reason."""

import json
import time
from threading import Event

import pytest
import served

from instructsearch import Collection
from instructsearch.errors import InstructSearchError
from instructsearch.serve import Settings, create_app, drawing
from instructsearch.serve.maps import Maps


@pytest.fixture
def service(tmp_path):
    """A service without its server: what stands behind the routes."""
    app = create_app(Settings(tmp_path))
    yield app.state.service
    app.state.service.close()


@pytest.fixture
def collection(service, tmp_path):
    """Twenty documents of two kinds under one view."""
    Collection.create("c", tmp_path, embedder="hash", instruction="by kind").add(documents(20))
    return service.catalogue.get("c")


def documents(count, after=0):
    from instructsearch import Document

    return [
        Document(
            f"d{number}", f"{('red', 'blue')[number % 2]} thing number {number}", f"Thing {number}", {"year": number}
        )
        for number in range(after, after + count)
    ]


def drawn(maps, collection, method="pca", seconds=60):
    until = time.monotonic() + seconds
    while not (look := maps.look(collection, "default", method)).current:
        assert time.monotonic() < until, look
        time.sleep(0.01)
    return look.drawing


def test_a_map_has_every_passage_its_place_and_its_colours(service, collection):
    told = drawn(service.maps, collection).told
    assert told["chunks"] == collection.vectors("default").chunks.tolist()
    (panel,) = told["panels"]
    assert panel["instruction"] == "by kind"
    assert len(panel["x"]) == len(panel["y"]) == len(told["titles"]) == 20
    assert max(panel["x"] + panel["y"]) == 65535
    assert [one["name"] for one in told["colourings"]] == ["clusters of default", "year"]
    assert told["left_out"] == 0
    assert json.dumps(told, allow_nan=False)


def test_it_is_made_once_and_anew_when_the_collection_has_changed(service, collection, monkeypatch):
    made = []
    monkeypatch.setattr(service.maps, "_draw", lambda *given: made.append(given[1:3]) or drawing.draw(*given))
    assert drawn(service.maps, collection) is drawn(service.maps, collection)
    assert made == [("default", "pca")]
    before = drawn(service.maps, collection)
    collection.add(documents(1, 20))
    look = service.maps.look(collection, "default", "pca")
    assert (look.current, look.drawing) == (False, before)
    assert look.progress is not None
    after = drawn(service.maps, collection)
    assert len(after.told["chunks"]) == 21
    assert len(made) == 2


def test_a_collection_made_anew_under_the_name_has_a_map_of_its_own(service, collection, tmp_path):
    assert len(drawn(service.maps, collection).told["chunks"]) == 20
    service.catalogue.drop("c")
    Collection.create("c", tmp_path, embedder="hash", instruction="by kind").add(documents(3))
    assert len(drawn(service.maps, service.catalogue.get("c")).told["chunks"]) == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_passages_are_a_map_too(service, tmp_path, count):
    Collection.create("few", tmp_path, embedder="hash").add(documents(count))
    assert len(drawn(service.maps, service.catalogue.get("few")).told["chunks"]) == count


def test_passages_that_a_sample_left_out_are_placed_among_their_likes(service, collection, monkeypatch):
    monkeypatch.setattr(drawing, "POINTS", 8)
    made = drawn(service.maps, collection)
    assert (len(made.told["chunks"]), made.told["left_out"]) == (8, 12)
    every = collection.vectors("default").chunks.tolist()
    places = {one["chunk"]: one for one in made.places(collection, "default", [*every, every[0], 10**6])}
    assert sorted(places) == every
    panel = made.told["panels"][0]
    for at, chunk in enumerate(made.told["chunks"]):
        assert places[chunk] == {"chunk": chunk, "x": panel["x"][at], "y": panel["y"][at], "drawn": True}
    left_out = [one for one in places.values() if not one["drawn"]]
    assert len(left_out) == 12
    assert all(0 <= one["x"] <= 65535 and 0 <= one["y"] <= 65535 for one in left_out)
    assert len({(one["x"], one["y"]) for one in left_out}) > 1


def test_one_that_left_out_itself_lies_on_its_twin(service, tmp_path, monkeypatch):
    from instructsearch import Document

    # the same text is the same vector, so what is most like a passage is a copy of it
    texts = ["red fox", "blue whale", "green frog", "grey wolf"]
    copies = [Document(f"d{number}", texts[number % 4]) for number in range(40)]
    Collection.create("twins", tmp_path, embedder="hash").add(copies)
    monkeypatch.setattr(drawing, "POINTS", 30)
    monkeypatch.setattr(drawing, "NEAREST", 1)
    collection = service.catalogue.get("twins")
    made = drawn(service.maps, collection)
    by_text = {
        text: (made.told["panels"][0]["x"][at], made.told["panels"][0]["y"][at])
        for at, text in enumerate(made.told["texts"])
    }
    chunks = collection.vectors("default").chunks.tolist()
    for place, passage in zip(made.places(collection, "default", chunks), collection.passages(chunks), strict=True):
        assert (place["x"], place["y"]) == by_text[passage.text]


def test_no_path_of_this_machine_is_on_a_map(service, tmp_path):
    folder = tmp_path / "secret" / "docs"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nSome words on {name}.\n")
    Collection.create("files", tmp_path, embedder="hash").index([folder])
    told = drawn(service.maps, service.catalogue.get("files")).told
    assert sorted(told["documents"]) == ["file:a.md", "file:b.md", "file:c.md"]
    assert "secret" not in json.dumps(told)


def test_an_error_is_told_and_the_next_request_tries_again(service, collection, monkeypatch):
    def broken(*given):
        raise InstructSearchError("no luck")

    monkeypatch.setattr(service.maps, "_draw", broken)
    with pytest.raises(InstructSearchError, match="no luck"):
        drawn(service.maps, collection)
    monkeypatch.setattr(service.maps, "_draw", drawing.draw)
    assert drawn(service.maps, collection)


def test_only_so_many_wait_and_an_end_stops_the_one_that_is_made(collection, monkeypatch):
    monkeypatch.setattr("instructsearch.serve.maps.WAITING", 1)
    began, ended = Event(), Event()

    def slowly(collection, view, method, progress):
        try:
            while True:
                began.set()
                progress("flatten", 1, 2)
                time.sleep(0.01)
        finally:
            ended.set()

    maps = Maps(slowly)
    maps.look(collection, "default", "pca")
    assert began.wait(10)
    assert maps.look(collection, "default", "pca").progress == {"stage": "flatten", "done": 1, "total": 2}
    with pytest.raises(InstructSearchError, match="so many maps wait"):
        maps.look(collection, "default", "tsne")
    maps.close()
    assert ended.wait(10)


def test_a_collection_too_large_to_draw_says_how_to_draw_a_part(service, collection, monkeypatch):
    monkeypatch.setattr(drawing, "MOST", 19)
    with pytest.raises(InstructSearchError, match=r"20 passages and this service draws 19 at most.*--where"):
        drawn(service.maps, collection)


def test_over_http(tmp_path, monkeypatch):
    with served.serving(tmp_path) as client:
        client.collection()
        empty = "/collections/c/views/default/map"
        until = time.monotonic() + served.PATIENCE
        while (answer := client.get(empty)).status_code == 202:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert answer.status_code == 400
        assert "no text yet" in answer.json()["error"]["message"]
        client.add(*[(f"d{number}", f"thing {number}") for number in range(5)])
        address = "/collections/c/views/default/map?method=pca"
        first = client.get(address)
        assert first.status_code == 202
        assert first.json()["current"] is False
        assert set(first.json()["progress"]) == {"stage", "done", "total"}
        while (answer := client.get(address)).status_code == 202:
            assert time.monotonic() < until
            time.sleep(0.02)
        told = answer.json()
        assert (told["current"], told["progress"], told["method"]) == (True, None, "pca")
        chunks = told["map"]["chunks"]
        places = client.post("/collections/c/views/default/map/places?method=pca", json={"chunks": chunks[:2]})
        assert [one["chunk"] for one in places.json()["places"]] == chunks[:2]
        assert client.get("/collections/c/views/none/map").status_code == 404
        assert client.get("/collections/none/views/default/map").status_code == 404
        assert client.get("/collections/c/views/default/map?method=umap").status_code == 422
        monkeypatch.setattr("instructsearch.explore.installed.find_spec", lambda name: None)
        missing = client.get(address)
        assert missing.status_code == 501
        assert "instructsearch[explore]" in missing.json()["error"]["message"]

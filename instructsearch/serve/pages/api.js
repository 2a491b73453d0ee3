// The service as the page asks it: JSON in and out, every refusal an error with the server's own words.
// Knows addresses and the bearer token, not what is shown.

export class Refused extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

const GONE = "No answer from the server. Is “instructsearch serve” still running? Start it, then try again.";

export class Api {
  constructor(token) {
    this.token = token;
  }

  // a 401 asks for the token and tries again, until it is right or the user gives up
  async ask(path, {method = "GET", body, signal} = {}) {
    for (;;) {
      const used = this.token.value;
      const headers = {...(used ? {Authorization: `Bearer ${used}`} : {}), ...(body ? {"Content-Type": "application/json"} : {})};
      let answer;
      try {
        answer = await fetch(path, {method, headers, signal, body: body && JSON.stringify(body)});
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Refused(0, "Unreachable", GONE);
      }
      if (answer.status === 401 && await this.token.wanted(used)) continue;
      return {status: answer.status, body: await Api.read(answer)};
    }
  }

  static async read(answer) {
    let told;
    try {
      told = await answer.json();
    } catch {
      throw new Refused(answer.status, "Unreadable", `The server answered ${answer.status} with something that is not JSON.`);
    }
    if (!answer.ok) throw Api.refusal(answer.status, told);
    return told;
  }

  static refusal(status, told) {
    return new Refused(status, told?.error?.type ?? "Error", told?.error?.message ?? `The server answered ${status}.`);
  }

  async get(path, options) { return (await this.ask(path, options)).body; }

  async post(path, body, options) { return (await this.ask(path, {method: "POST", body, ...options})).body; }

  async drop(path) { return (await this.ask(path, {method: "DELETE"})).body; }

  collections() { return this.get("/collections"); }

  status(name) { return this.get(`/collections/${encodeURIComponent(name)}`); }

  search(name, body, signal) { return this.post(`/collections/${encodeURIComponent(name)}/search`, body, {signal}); }

  // a document's id may hold slashes, which stay, and anything else, which does not
  async document(name, id) {
    const found = await this.post(`/collections/${encodeURIComponent(name)}/documents/read`, {ids: [id]});
    if (!found.documents.length) throw new Refused(404, "NotOffered", `“${id}” is not in ${name}, or no longer. Search again for what is there now.`);
    return found.documents[0];
  }

  map(name, view, method, signal) {
    return this.ask(`/collections/${encodeURIComponent(name)}/views/${encodeURIComponent(view)}/map?method=${method}`, {signal});
  }

  places(name, view, method, chunks) {
    return this.post(`/collections/${encodeURIComponent(name)}/views/${encodeURIComponent(view)}/map/places?method=${method}`, {chunks});
  }

  // fetch cannot say how much of a body has been sent, so files go the older way
  upload(name, files, sent) {
    return new Promise((done, failed) => {
      const form = new FormData();
      for (const [file, called] of files) form.append("files", file, called);
      const request = new XMLHttpRequest();
      request.open("POST", `/collections/${encodeURIComponent(name)}/files`);
      if (this.token.value) request.setRequestHeader("Authorization", `Bearer ${this.token.value}`);
      request.responseType = "json";
      request.upload.addEventListener("progress", (event) => sent(event.loaded, event.lengthComputable ? event.total : null));
      request.addEventListener("load", () => {
        if (request.status < 300) done(request.response);
        else failed(Api.refusal(request.status, request.response));
      });
      request.addEventListener("error", () => failed(new Refused(0, "Unreachable", GONE)));
      request.send(form);
    });
  }
}

// A small server that answers as a test says, and keeps what it was asked.
import { createServer } from "node:http";
import { once } from "node:events";

export async function serve(replies) {
  const seen = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    seen.push({ method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(chunks) });
    const listed = replies[`${request.method} ${request.url}`] ?? replies[request.url];
    const reply = Array.isArray(listed) ? (listed.length > 1 ? listed.shift() : listed[0]) : listed;
    if (reply === "cut") return request.socket.destroy();
    const { status = 200, body = "", headers = {} } = reply ?? { status: 404 };
    response.writeHead(status, headers).end(typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    seen,
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

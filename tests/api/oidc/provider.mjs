// An identity provider on loopback: `node provider.mjs PORT REDIRECT_URI`. It prints "ready" once it listens.
//
// `POST /tamper` with {"claims": {...}, "header": {...}, "how": "none" | "hs256" | "stranger"} changes every ID token from
// then on; with {} they are as they should be. `POST /rotate` gives the provider another key.
import { createServer } from "node:http";
import * as jose from "jose";
import Provider from "oidc-provider";

const [port, redirectUri] = [Number(process.argv[2]), process.argv[3]];
const issuer = `http://127.0.0.1:${port}`;
const client = { client_id: "stormweir", client_secret: "a secret: with/odd+characters" };
const people = {
  ada: { name: "Ada Lovelace", preferred_username: "Ada", email: "ada@example.com", roles: ["staff", "admin"] },
  bob: { name: "Bob", preferred_username: "bob", email: "bob@example.com" },
};
let tamper = {};
let provider;
let key;

async function make(kid) {
  const pair = await jose.generateKeyPair("RS256", { extractable: true });
  key = { ...(await jose.exportJWK(pair.privateKey)), kid, alg: "RS256", use: "sig" };
  provider = new Provider(issuer, {
    clients: [{ ...client, redirect_uris: [redirectUri] }],
    claims: { openid: ["sub", "roles"], profile: ["name", "preferred_username"], email: ["email"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    pkce: { required: () => true },
    cookies: { keys: ["a key of the tests"] },
    jwks: { keys: [key] },
    ttl: { Interaction: 600, Session: 600, Grant: 600, IdToken: 600, AccessToken: 600 },
  });
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === "/token" && ctx.body?.id_token && Object.keys(tamper).length) {
      ctx.body = { ...ctx.body, id_token: await tampered(ctx.body.id_token) };
    }
  });
}

async function tampered(token) {
  const claims = { ...jose.decodeJwt(token), ...tamper.claims };
  const header = { alg: "RS256", kid: key.kid, ...tamper.header };
  const text = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  if (tamper.how === "none") return `${text({ ...header, alg: "none" })}.${text(claims)}.`;
  const signed = new jose.SignJWT(claims);
  if (tamper.how === "hs256") {
    return signed.setProtectedHeader({ ...header, alg: "HS256" }).sign(Buffer.from(client.client_secret.padEnd(32)));
  }
  if (tamper.how === "stranger") {
    const { privateKey } = await jose.generateKeyPair("RS256");
    return signed.setProtectedHeader(header).sign(privateKey);
  }
  return signed.setProtectedHeader(header).sign(await jose.importJWK(key));
}

await make("first");
createServer(async (request, response) => {
  if (request.url === "/tamper" || request.url === "/rotate") {
    let body = "";
    for await (const piece of request) body += piece;
    if (request.url === "/rotate") await make("second");
    else tamper = JSON.parse(body);
    response.end();
  } else provider.callback()(request, response);
}).listen(port, "127.0.0.1", () => console.log("ready"));

// An OpenID provider, `oidc-provider`, on the loopback interface: `node provider.mjs PORT KEYS.json`. A client is a role: its id is the
// role's name, its secret `secret`; a device's tokens are of the user in the client's id, as `device-u00000000000000aa`.
// KEYS.json holds its private keys as a JWK set, and KEYS.json.der the first, which signs, as PKCS #1. They are made where they are
// not there.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, file] = process.argv.slice(2);

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(`${file}.der`, privateKey.export({ type: 'pkcs1', format: 'der' }));
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomUUID() };
}

if (!existsSync(file)) {
  writeFileSync(file, JSON.stringify({ keys: [key()] }));
}
const roles = ['device-u00000000000000aa', 'service', 'analyst', 'operator', 'admin', 'nobody'];
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: JSON.parse(readFileSync(file)),
  clients: roles.map((role) => ({
    client_id: role, client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  })),
  extraTokenClaims: (_context, token) => {
    const [role, user] = token.clientId.split('-');
    return { foretap_role: role, ...(user && { foretap_user: user }) };
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // The resource is the audience.
      getResourceServerInfo: (_context, resource) => ({
        scope: 'api', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
createServer(provider.callback()).listen(Number(port), '127.0.0.1');

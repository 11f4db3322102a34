// npm's etcd3 against the endpoint in argv; exits 0 where everything is as it should be.
const assert = require('assert');
const { Etcd3 } = require('etcd3');

async function main() {
  const client = new Etcd3({ hosts: process.argv[2] });
  await client.put('foo').value('bar');
  assert.strictEqual(await client.get('foo').string(), 'bar');

  const watcher = await client.watch().key('foo').create();
  const heard = new Promise((resolve) => watcher.on('put', (kv) => resolve(kv.value.toString())));
  await client.put('foo').value('baz');
  assert.strictEqual(await heard, 'baz');
  await watcher.cancel();

  const taken = await client.if('foo', 'Value', '==', 'baz')
    .then(client.put('foo').value('txn')).else(client.get('foo')).commit();
  assert.strictEqual(taken.succeeded, true);

  const lease = client.lease(60);
  await lease.put('leased').value('x');
  assert.strictEqual(await client.get('leased').string(), 'x');
  await lease.revoke();
  assert.strictEqual(await client.get('leased').string(), null);

  let held = false;
  await client.lock('lock').do(async () => { held = true; });
  assert.ok(held);

  const campaign = client.election('seat').campaign('me');
  await new Promise((resolve, reject) => { campaign.on('elected', resolve); campaign.on('error', reject); });
  assert.strictEqual(await client.election('seat').leader(), 'me');
  await campaign.resign();

  await client.namespace('ns/').put('k').value('v');
  assert.deepStrictEqual(await client.getAll().prefix('ns/').strings(), { 'ns/k': 'v' });
  await client.delete().all();
  assert.strictEqual(await client.getAll().count(), 0);
  client.close();
}

main().catch((error) => { console.error(error); process.exit(1); });

// Applies transactions to the replica named by the first argument until it is killed: three rows in, one out. Says a line
// now and then, so that the killer knows it is at work.

import { ReplicaWriter } from '../src/replica/writer.ts';
import { ITEMS, TestStream } from './replica-images.ts';

const writer = ReplicaWriter.open(process.argv[2] as string, { synchronous: 'normal' });
const stream = new TestStream((message) => writer.apply(message), writer.position.lsn);
stream.relation(ITEMS);
let id = Number(writer.position.lsn) * 10;
for (let count = 1; ; count += 1) {
  stream.transaction(
    () => stream.insert(ITEMS.oid, [String(id), 'a', '1']),
    () => stream.insert(ITEMS.oid, [String(id + 1), 'b', null]),
    () => stream.insert(ITEMS.oid, [String(id + 2), 'c', '2.50']),
    () => stream.delete(ITEMS.oid, 'K', [String(id), null, null]),
  );
  id += 3;
  if (count % 3 === 0) writer.flush();
  if (count % 300 === 0) process.stdout.write('.\n');
}

// A forwarder that does nothing but forward, one connection for one: what Bun's sockets alone cost for each query, below
// which no proxy on Bun can come. `bun bench/lib/floor.ts PORT` prints its own port as JSON.

interface Side {
  other: Bun.Socket<Side> | null;
  early: Buffer[];
}

const target = Number(process.argv[2]);

const listener = Bun.listen<Side>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(near) {
      near.data = { other: null, early: [] };
      near.setNoDelay(true);
      void Bun.connect<Side>({
        hostname: '127.0.0.1',
        port: target,
        data: { other: near, early: [] },
        socket: {
          open(far) {
            far.setNoDelay(true);
            near.data.other = far;
            for (const chunk of near.data.early.splice(0)) far.write(chunk);
          },
          data(far, chunk) {
            far.data.other?.write(chunk);
          },
          close(far) {
            far.data.other?.end();
          },
        },
      });
    },
    data(near, chunk) {
      if (near.data.other === null) near.data.early.push(Buffer.from(chunk));
      else near.data.other.write(chunk);
    },
    close(near) {
      near.data.other?.end();
    },
  },
});

console.log(JSON.stringify({ port: listener.port }));

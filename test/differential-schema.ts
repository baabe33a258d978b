// Tables of all kinds of types and the awkward values of each.

export const SCHEMA = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN short AS varchar(5);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE numbers (
  id int PRIMARY KEY, small int2, big int8, four float4, eight float8, amount numeric, price numeric(10,2), flag bool,
  oid_ oid, money_ money);
INSERT INTO numbers VALUES
  (1, 1, 1, 1, 1, 1, 1, true, 1, 1),
  (2, -32768, -9223372036854775808, '-Infinity', '-Infinity', '-Infinity', -99999999.99, false, 0, -1.5),
  (3, 32767, 9223372036854775807, 'Infinity', 'Infinity', 'Infinity', 99999999.99, null, 4294967295, 0),
  (4, null, null, 'NaN', 'NaN', 'NaN', 'NaN', true, null, null),
  (5, 0, 0, '-0', '-0', 0.000, 0, false, 5, 5),
  (6, 7, 9007199254740993, 0.1, 0.1, 1.0, 1.10, true, 6, 6),
  (7, -7, -9007199254740993, 1e20, 1e300, 1.00, 1.1, null, 7, 7),
  (8, null, 42, 3.4028235e38, 1.7976931348623157e308, 123456789012345678901234567890.123456789, null, false, 8, 8),
  (9, 2, 2, 1e-5, 1e-5, -0.5, -1.1, true, 9, 9),
  (10, 2, 3, 123456.789, 123456789012345680, null, 2, true, 10, 10),
  (-5, 2, 1000000000000000, null, null, 10, 10, true, 11, 11);
CREATE TABLE texts (
  id int PRIMARY KEY, t text, c text COLLATE "C", v varchar(10), d text COLLATE "en-x-icu", f char(5), n name, q "char",
  u uuid, b bytea);
INSERT INTO texts VALUES
  (1, 'abc', 'abc', 'abc', 'abc', 'abc', 'abc', 'a', '00000000-0000-0000-0000-000000000001', '\\x00'),
  (2, 'ABC', 'ABC', 'ABC', 'ABC', 'ab', 'ABC', 'b', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\xdeadbeef'),
  (3, '', '', '', '', '', '', '', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', ''),
  (4, null, null, null, null, null, null, null, null, null),
  (5, 'a%b_c\\d', 'a%b', 'ä', 'Ä', 'x', 'é', 'x', '123e4567-e89b-12d3-a456-426614174000', '\\x5c'),
  (6, 'Zoë [x] *?', 'Zoë', 'zz', 'z', 'zz', 'zz', 'z', '00000000-0000-0000-0000-000000000002', '\\x20'),
  (7, 'naïve 😀 text', '😀', '😀', 'a', 'a', 'a', 'y', null, 'text'),
  (8, ' lead and trail ', ' x ', '  ', ' ', '  a', ' ', 'c', '00000000-0000-0000-0000-000000000003', '\\x2020'),
  (9, E'tab\\tnew\\nline', '\uffff', 'null', 'NULL', '''', '"', 'd', null, '\\xff'),
  (10, 'abc', 'abd', 'abc', 'abd', 'abc', 'abd', 'e', '00000000-0000-0000-0000-000000000001', '\\x00');
CREATE TABLE times (
  id int PRIMARY KEY, d date, t time, ts timestamp, tz timestamptz, i interval, ttz timetz, ts3 timestamp(3));
INSERT INTO times VALUES
  (1, '2024-02-29', '12:34:56.789', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+00', '1 day', '12:34:56+02', '2024-02-29 12:34:56.789'),
  (2, 'infinity', '00:00', 'infinity', 'infinity', '-1 mon', '00:00:00+00', 'infinity'),
  (3, '-infinity', '24:00', '-infinity', '-infinity', '0', '24:00:00-12', '-infinity'),
  (4, '0044-03-15 BC', '23:59:59.999999', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', '1 year 2 mons', null, null),
  (5, '10000-01-01', '01:02:03', '12345-06-07 08:09:10', '12345-06-07 08:09:10+00', '24:00:00', '01:00:00+00', null),
  (6, null, null, null, null, null, null, null),
  (7, '1999-12-31', '12:00', '1999-12-31 23:59:59', '1999-12-31 23:59:59+00', '1 day', '12:00:00+00', '1999-12-31 23:59:59'),
  (8, '2024-03-01', '12:00:00.5', '2024-03-01 00:00:00.5', '2024-03-01 00:00:00+00', '-1 day +01:00', null, null),
  (9, '0001-01-01', '12:00:00.05', '0001-01-01 00:00:00', '2024-03-01 00:00:00.000001+00', '30 days', null, null);
CREATE TABLE others (
  id int PRIMARY KEY, j json, jb jsonb, net inet, cid cidr, mac macaddr, ints int[], texts text[], mood mood, pos positive,
  short short, moods mood[], comp pair, r int4range, tsr tstzrange, bits bit(3), vbits varbit, p point, lsn pg_lsn, x xml,
  nums numeric[], tv tsvector);
INSERT INTO others VALUES
  (1, '{"a": 1.0,  "b":null}', '{"b": 1.0, "a": [1, 2]}', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '{1,2,NULL}',
   '{a,"b c",NULL,"\\"q\\"",""}', 'happy', 5, 'abc', '{sad,happy}', '(1,x)', '[1,5)', '["2024-01-01 00:00:00+00",)', '101',
   '10', '(1,2.5)', '16/B374D848', '<a>x</a>', '{1.0,2.50}', 'a fat cat'),
  (2, '[]', '"x"', '10.0.0.1/24', '::/0', null, '{}', '{}', 'sad', 1, '', '{}', '(,)', 'empty', null, '000', '', '(-0,1e20)',
   '0/0', null, '{}', ''),
  (3, null, null, '::1', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
   null),
  (4, 'null', 'null', 'fe80::1/64', '192.168.0.0/16', 'ff:ff:ff:ff:ff:ff', '{{1,2},{3,4}}', '{{a},{b}}', 'ok', 7, 'zz',
   '{ok,NULL}', '(2,"a b")', '(,3]', '(,)', '111', '1', null, null, '', '{NaN}', null),
  (5, '1', '1.50', '10.0.0.2', null, null, '[0:1]={5,6}', null, 'happy', 5, 'abc', null, null, '[1,5)', null, null, null,
   null, null, null, null, null);
CREATE TABLE parents (id int PRIMARY KEY, name text NOT NULL, code varchar(8) UNIQUE, region text COLLATE "C", size int);
INSERT INTO parents SELECT i, 'parent ' || i, 'p' || i, (ARRAY['eu','us','ap',NULL])[1 + i % 4], i * 10 % 70 FROM generate_series(1, 20) i;
CREATE TABLE children (
  parent_id int NOT NULL, n int NOT NULL, label text, score int8, at timestamptz, PRIMARY KEY (parent_id, n));
INSERT INTO children SELECT p, n, CASE WHEN n % 3 = 0 THEN NULL ELSE 'c' || n END, p * 100 + n,
  '2024-01-01 00:00:00+00'::timestamptz + make_interval(days => p, hours => n)
  FROM generate_series(1, 25) p, generate_series(1, 4) n WHERE p % 5 <> 0;
CREATE INDEX ON children (score);
CREATE TABLE "Mixed Case" ("Id" int PRIMARY KEY, "select" text, "a""b" int);
INSERT INTO "Mixed Case" VALUES (1, 'x', 2);
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (null, null);
CREATE TABLE secured (id int PRIMARY KEY); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived (extra int) INHERITS (base);
CREATE TABLE parted (id int, region text) PARTITION BY LIST (region);
CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
CREATE TABLE parted_rest (region text, id int); ALTER TABLE parted ATTACH PARTITION parted_rest DEFAULT;
INSERT INTO parted VALUES (1, 'eu'), (2, 'eu'), (3, 'us'), (4, NULL);
CREATE TABLE measured (id int, at date, amount numeric(8,2), PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') PARTITION BY LIST (id);
CREATE TABLE measured_1a PARTITION OF measured_1 FOR VALUES IN (1, 2, 3);
CREATE TABLE measured_1b PARTITION OF measured_1 DEFAULT;
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM ('2024-02-01') TO ('2024-04-01');
INSERT INTO measured SELECT i % 7, '2024-01-01'::date + i, i * 1.25 FROM generate_series(1, 80) i;
CREATE TABLE untaken (id int) PARTITION BY LIST (id);
INSERT INTO base VALUES (1), (2); INSERT INTO derived VALUES (3, 30), (1, 10);
CREATE TABLE grandchild (more text) INHERITS (derived); INSERT INTO grandchild VALUES (5, 50, 'x');
CREATE TABLE generated (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO generated VALUES (1);
CREATE TABLE documents (k text, n int, doc jsonb, id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);
INSERT INTO documents VALUES
  ('a', 0, '{"a": {"b": [1, "x, \\"y\\"", {"c": null}], "d": {}}, "b": "}{]["}'), ('b', 1, '[{"b": 1}, [2, 3], "s", null, -1.50e2]'),
  ('', -1, '{"": 1, "a\\tb": "c\\nd \\u00e9 \\\\"}'), (E'a\tb', -2, '{"": 1, "a\\tb": "c\\nd"}'), ('é', 2, '{"é": true, "z": false}'),
  (null, null, '{}'), ('a', 5, '[]'), ('a', 0, '"scalar"'), ('a', 0, null), ('null', 3, '{"null": null}'), ('aa', -9, '{"a": 1, "aa": [[], [[]]]}');
CREATE TABLE days (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz);
INSERT INTO days SELECT i, at::date, at, at AT TIME ZONE 'UTC'
  FROM (SELECT i, '0001-02-03 04:05:06.7'::timestamp + i * interval '91 days 7 hours 11 minutes 13.000017 seconds' * (1 + i) AS at
    FROM generate_series(1, 120) i) s;
INSERT INTO days VALUES (0, null, null, null), (-1, '2024-02-29', '2024-02-29 23:59:59.999999', '2024-12-30 00:00:00+00'),
  (-2, '2021-01-03', '2020-12-31', '1969-12-31 23:59:59.5+00'), (-3, '2000-12-31', '2000-01-01', '9999-12-31 23:59:59+00');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE VIEW seen AS SELECT * FROM parents;
CREATE SCHEMA reports;
CREATE VIEW reports.regions (area, parents, biggest) AS
  SELECT p.region, count(*), max(p.size) FROM parents p WHERE p.id > 1 GROUP BY p.region;
CREATE VIEW reports.families AS SELECT p.id, p.name, p.code, c.n, c.label, c.score, c.at FROM parents p LEFT JOIN children c ON c.parent_id = p.id;
CREATE VIEW reports.europe AS SELECT f.*, r.parents FROM reports.families f JOIN reports.regions r ON r.area = 'eu' WHERE f.code IN ('p4', 'p8', 'p12');
CREATE VIEW reports.moods AS SELECT id, mood, short, pos FROM others WHERE mood <> 'sad'::mood;
CREATE VIEW reports.clock AS SELECT now() AS at, id FROM parents;
CREATE VIEW reports.secret AS SELECT * FROM secured;
CREATE VIEW reports.amounts AS SELECT id, price, amount, price AS "Price Again" FROM numbers WHERE price > 1.5 ORDER BY id DESC LIMIT 3;
CREATE VIEW reports.parts AS SELECT * FROM measured WHERE at >= '2024-02-01';
`;

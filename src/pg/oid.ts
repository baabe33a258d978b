// The types that every Postgres has, with the facts a client or a server of the protocol needs (pg_type, oid < 10000).

export interface PgType {
  readonly oid: number;
  readonly name: string;
  /** typlen: bytes, -1 for a varlena, -2 for a C string. */
  readonly length: number;
  /** typtype: b base, p pseudo, r range, m multirange. */
  readonly kind: 'b' | 'p' | 'r' | 'm';
  /** typcategory: N number, S string, D date/time, A array … */
  readonly category: string;
  /** typelem: the element of an array (also of fixed-length types such as point, which are not arrays); else 0. */
  readonly elementOid: number;
  /** typarray: the type of arrays of this type, else 0. */
  readonly arrayOid: number;
  /** What separates elements in an array's text: ';' for box, ',' for all others. */
  readonly delimiter: string;
}

/** OIDs by name, for the types that code names. */
export const OID = {
  bool: 16,
  bytea: 17,
  char: 18,
  name: 19,
  int8: 20,
  int2: 21,
  int2vector: 22,
  int4: 23,
  regproc: 24,
  text: 25,
  oid: 26,
  tid: 27,
  xid: 28,
  cid: 29,
  oidvector: 30,
  json: 114,
  xml: 142,
  xid8: 5069,
  point: 600,
  lseg: 601,
  path: 602,
  box: 603,
  polygon: 604,
  line: 628,
  cidr: 650,
  float4: 700,
  float8: 701,
  unknown: 705,
  circle: 718,
  macaddr8: 774,
  money: 790,
  macaddr: 829,
  inet: 869,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  bit: 1560,
  varbit: 1562,
  numeric: 1700,
  refcursor: 1790,
  regclass: 2205,
  regtype: 2206,
  regnamespace: 4089,
  regrole: 4096,
  record: 2249,
  void: 2278,
  uuid: 2950,
  pgLsn: 3220,
  tsvector: 3614,
  tsquery: 3615,
  jsonb: 3802,
  jsonpath: 4072,
  pgSnapshot: 5038,
  cstring: 2275,
  boolArray: 1000,
  textArray: 1009,
  int4Array: 1007,
  int8Array: 1016,
  int2Array: 1005,
  float8Array: 1022,
  varcharArray: 1015,
  numericArray: 1231,
  oidArray: 1028,
  nameArray: 1003,
  charArray: 1002,
} as const;

// One line a type: oid name length kind category element array delimiter.
const TABLE = `
16 bool 1 b B 0 1000 ,
17 bytea -1 b U 0 1001 ,
18 char 1 b Z 0 1002 ,
19 name 64 b S 18 1003 ,
20 int8 8 b N 0 1016 ,
21 int2 2 b N 0 1005 ,
22 int2vector -1 b A 21 1006 ,
23 int4 4 b N 0 1007 ,
24 regproc 4 b N 0 1008 ,
25 text -1 b S 0 1009 ,
26 oid 4 b N 0 1028 ,
27 tid 6 b U 0 1010 ,
28 xid 4 b U 0 1011 ,
29 cid 4 b U 0 1012 ,
30 oidvector -1 b A 26 1013 ,
114 json -1 b U 0 199 ,
142 xml -1 b U 0 143 ,
143 _xml -1 b A 142 0 ,
194 pg_node_tree -1 b Z 0 0 ,
199 _json -1 b A 114 0 ,
210 _pg_type -1 b A 71 0 ,
270 _pg_attribute -1 b A 75 0 ,
271 _xid8 -1 b A 5069 0 ,
272 _pg_proc -1 b A 81 0 ,
273 _pg_class -1 b A 83 0 ,
600 point 16 b G 701 1017 ,
601 lseg 32 b G 600 1018 ,
602 path -1 b G 0 1019 ,
603 box 32 b G 600 1020 ;
604 polygon -1 b G 0 1027 ,
628 line 24 b G 701 629 ,
629 _line -1 b A 628 0 ,
650 cidr -1 b I 0 651 ,
651 _cidr -1 b A 650 0 ,
700 float4 4 b N 0 1021 ,
701 float8 8 b N 0 1022 ,
705 unknown -2 p X 0 0 ,
718 circle 24 b G 0 719 ,
719 _circle -1 b A 718 0 ,
774 macaddr8 8 b U 0 775 ,
775 _macaddr8 -1 b A 774 0 ,
790 money 8 b N 0 791 ,
791 _money -1 b A 790 0 ,
829 macaddr 6 b U 0 1040 ,
869 inet -1 b I 0 1041 ,
1000 _bool -1 b A 16 0 ,
1001 _bytea -1 b A 17 0 ,
1002 _char -1 b A 18 0 ,
1003 _name -1 b A 19 0 ,
1005 _int2 -1 b A 21 0 ,
1006 _int2vector -1 b A 22 0 ,
1007 _int4 -1 b A 23 0 ,
1008 _regproc -1 b A 24 0 ,
1009 _text -1 b A 25 0 ,
1010 _tid -1 b A 27 0 ,
1011 _xid -1 b A 28 0 ,
1012 _cid -1 b A 29 0 ,
1013 _oidvector -1 b A 30 0 ,
1014 _bpchar -1 b A 1042 0 ,
1015 _varchar -1 b A 1043 0 ,
1016 _int8 -1 b A 20 0 ,
1017 _point -1 b A 600 0 ,
1018 _lseg -1 b A 601 0 ,
1019 _path -1 b A 602 0 ,
1020 _box -1 b A 603 0 ;
1021 _float4 -1 b A 700 0 ,
1022 _float8 -1 b A 701 0 ,
1027 _polygon -1 b A 604 0 ,
1028 _oid -1 b A 26 0 ,
1033 aclitem 16 b U 0 1034 ,
1034 _aclitem -1 b A 1033 0 ,
1040 _macaddr -1 b A 829 0 ,
1041 _inet -1 b A 869 0 ,
1042 bpchar -1 b S 0 1014 ,
1043 varchar -1 b S 0 1015 ,
1082 date 4 b D 0 1182 ,
1083 time 8 b D 0 1183 ,
1114 timestamp 8 b D 0 1115 ,
1115 _timestamp -1 b A 1114 0 ,
1182 _date -1 b A 1082 0 ,
1183 _time -1 b A 1083 0 ,
1184 timestamptz 8 b D 0 1185 ,
1185 _timestamptz -1 b A 1184 0 ,
1186 interval 16 b T 0 1187 ,
1187 _interval -1 b A 1186 0 ,
1231 _numeric -1 b A 1700 0 ,
1263 _cstring -1 b A 2275 0 ,
1266 timetz 12 b D 0 1270 ,
1270 _timetz -1 b A 1266 0 ,
1560 bit -1 b V 0 1561 ,
1561 _bit -1 b A 1560 0 ,
1562 varbit -1 b V 0 1563 ,
1563 _varbit -1 b A 1562 0 ,
1700 numeric -1 b N 0 1231 ,
1790 refcursor -1 b U 0 2201 ,
2201 _refcursor -1 b A 1790 0 ,
2202 regprocedure 4 b N 0 2207 ,
2203 regoper 4 b N 0 2208 ,
2204 regoperator 4 b N 0 2209 ,
2205 regclass 4 b N 0 2210 ,
2206 regtype 4 b N 0 2211 ,
2207 _regprocedure -1 b A 2202 0 ,
2208 _regoper -1 b A 2203 0 ,
2209 _regoperator -1 b A 2204 0 ,
2210 _regclass -1 b A 2205 0 ,
2211 _regtype -1 b A 2206 0 ,
2249 record -1 p P 0 2287 ,
2275 cstring -2 p P 0 1263 ,
2276 any 4 p P 0 0 ,
2277 anyarray -1 p P 0 0 ,
2278 void 4 p P 0 0 ,
2279 trigger 4 p P 0 0 ,
2283 anyelement 4 p P 0 0 ,
2287 _record -1 p P 2249 0 ,
2949 _txid_snapshot -1 b A 2970 0 ,
2950 uuid 16 b U 0 2951 ,
2951 _uuid -1 b A 2950 0 ,
2970 txid_snapshot -1 b U 0 2949 ,
3220 pg_lsn 8 b U 0 3221 ,
3221 _pg_lsn -1 b A 3220 0 ,
3361 pg_ndistinct -1 b Z 0 0 ,
3402 pg_dependencies -1 b Z 0 0 ,
3614 tsvector -1 b U 0 3643 ,
3615 tsquery -1 b U 0 3645 ,
3642 gtsvector -1 b U 0 3644 ,
3643 _tsvector -1 b A 3614 0 ,
3644 _gtsvector -1 b A 3642 0 ,
3645 _tsquery -1 b A 3615 0 ,
3734 regconfig 4 b N 0 3735 ,
3735 _regconfig -1 b A 3734 0 ,
3769 regdictionary 4 b N 0 3770 ,
3770 _regdictionary -1 b A 3769 0 ,
3802 jsonb -1 b U 0 3807 ,
3807 _jsonb -1 b A 3802 0 ,
3904 int4range -1 r R 0 3905 ,
3905 _int4range -1 b A 3904 0 ,
3906 numrange -1 r R 0 3907 ,
3907 _numrange -1 b A 3906 0 ,
3908 tsrange -1 r R 0 3909 ,
3909 _tsrange -1 b A 3908 0 ,
3910 tstzrange -1 r R 0 3911 ,
3911 _tstzrange -1 b A 3910 0 ,
3912 daterange -1 r R 0 3913 ,
3913 _daterange -1 b A 3912 0 ,
3926 int8range -1 r R 0 3927 ,
3927 _int8range -1 b A 3926 0 ,
4072 jsonpath -1 b U 0 4073 ,
4073 _jsonpath -1 b A 4072 0 ,
4089 regnamespace 4 b N 0 4090 ,
4090 _regnamespace -1 b A 4089 0 ,
4096 regrole 4 b N 0 4097 ,
4097 _regrole -1 b A 4096 0 ,
4191 regcollation 4 b N 0 4192 ,
4192 _regcollation -1 b A 4191 0 ,
4451 int4multirange -1 m R 0 6150 ,
4532 nummultirange -1 m R 0 6151 ,
4533 tsmultirange -1 m R 0 6152 ,
4534 tstzmultirange -1 m R 0 6153 ,
4535 datemultirange -1 m R 0 6155 ,
4536 int8multirange -1 m R 0 6157 ,
4600 pg_brin_bloom_summary -1 b Z 0 0 ,
4601 pg_brin_minmax_multi_summary -1 b Z 0 0 ,
5017 pg_mcv_list -1 b Z 0 0 ,
5038 pg_snapshot -1 b U 0 5039 ,
5039 _pg_snapshot -1 b A 5038 0 ,
5069 xid8 8 b U 0 271 ,
6150 _int4multirange -1 b A 4451 0 ,
6151 _nummultirange -1 b A 4532 0 ,
6152 _tsmultirange -1 b A 4533 0 ,
6153 _tstzmultirange -1 b A 4534 0 ,
6155 _datemultirange -1 b A 4535 0 ,
6157 _int8multirange -1 b A 4536 0 ,
`;

const types: PgType[] = TABLE.trim()
  .split('\n')
  .map((line) => {
    const [oid, name, length, kind, category, elementOid, arrayOid, delimiter] = line.split(' ') as [
      string,
      string,
      string,
      PgType['kind'],
      string,
      string,
      string,
      string,
    ];
    return {
      oid: Number(oid),
      name,
      length: Number(length),
      kind,
      category,
      elementOid: Number(elementOid),
      arrayOid: Number(arrayOid),
      delimiter,
    };
  });

const byOid = new Map(types.map((type) => [type.oid, type]));
const byName = new Map(types.map((type) => [type.name, type]));

/** The built-in type with this OID; undefined when the type belongs to a database (enum, domain, extension). */
export function builtinType(oid: number): PgType | undefined {
  return byOid.get(oid);
}

/** The built-in type called `name` in pg_catalog (`int4`, `_text`). */
export function builtinTypeByName(name: string): PgType | undefined {
  return byName.get(name);
}

/** All of them, in OID order. */
export function builtinTypes(): readonly PgType[] {
  return types;
}

/** Whether values are stored as arrays with dimensions (int2vector and oidvector print differently and are not). */
export function isBuiltinArray(oid: number): boolean {
  const type = byOid.get(oid);
  return (
    type !== undefined && type.category === 'A' && type.length === -1 && oid !== OID.int2vector && oid !== OID.oidvector
  );
}

// Written by signatures.pg.test.ts from the catalogues of Postgres 15 and 18. Types are named as in pg_type.
// Functions: name(parameters)result, * before a VARIADIC parameter, =n the last n have defaults, lax: called with NULLs too,
// agg or win: aggregates and window functions, @n: only that version has it.

export const FUNCTION_LIST = `
abbrev(cidr)text
abbrev(inet)text
abs(float4)float4
abs(float8)float8
abs(int2)int2
abs(int4)int4
abs(int8)int8
abs(numeric)numeric
age(timestamp)interval
age(timestamp,timestamp)interval
age(timestamptz)interval
age(timestamptz,timestamptz)interval
age(xid)int4
array_append(anycompatiblearray,anycompatible)anycompatiblearray lax
array_cat(anycompatiblearray,anycompatiblearray)anycompatiblearray lax
array_dims(anyarray)text
array_length(anyarray,int4)int4
array_lower(anyarray,int4)int4
array_ndims(anyarray)int4
array_position(anycompatiblearray,anycompatible)int4 lax
array_position(anycompatiblearray,anycompatible,int4)int4 lax
array_positions(anycompatiblearray,anycompatible)_int4 lax
array_prepend(anycompatible,anycompatiblearray)anycompatiblearray lax
array_remove(anycompatiblearray,anycompatible)anycompatiblearray lax
array_replace(anycompatiblearray,anycompatible,anycompatible)anycompatiblearray lax
array_to_string(anyarray,text)text
array_to_string(anyarray,text,text)text lax
array_upper(anyarray,int4)int4
ascii(text)int4
bit_count(bit)int8
bit_count(bytea)int8
bit_length(bit)int4
bit_length(bytea)int4
bit_length(text)int4
broadcast(inet)inet
btrim(bytea,bytea)bytea
btrim(text)text
btrim(text,text)text
cardinality(anyarray)int4
ceil(float8)float8
ceil(numeric)numeric
ceiling(float8)float8
ceiling(numeric)numeric
char_length(bpchar)int4
char_length(text)int4
character_length(bpchar)int4
character_length(text)int4
chr(int4)text
concat(*any)text lax
concat_ws(text,*any)text lax
convert_from(bytea,name)text
convert_to(text,name)bytea
date_bin(interval,timestamp,timestamp)timestamp
date_bin(interval,timestamptz,timestamptz)timestamptz
date_part(text,date)float8
date_part(text,interval)float8
date_part(text,time)float8
date_part(text,timestamp)float8
date_part(text,timestamptz)float8
date_part(text,timetz)float8
date_trunc(text,interval)interval
date_trunc(text,timestamp)timestamp
date_trunc(text,timestamptz)timestamptz
date_trunc(text,timestamptz,text)timestamptz
decode(text,text)bytea
degrees(float8)float8
div(numeric,numeric)numeric
encode(bytea,text)text
extract(text,date)numeric
extract(text,interval)numeric
extract(text,time)numeric
extract(text,timestamp)numeric
extract(text,timestamptz)numeric
extract(text,timetz)numeric
factorial(int8)numeric
family(inet)int4
floor(float8)float8
floor(numeric)numeric
format(text)text lax
format(text,*any)text lax
gcd(int4,int4)int4
gcd(int8,int8)int8
gcd(numeric,numeric)numeric
get_byte(bytea,int4)int4
host(inet)text
hostmask(inet)inet
inet_same_family(inet,inet)bool
initcap(text)text
isempty(anymultirange)bool
isempty(anyrange)bool
isfinite(date)bool
isfinite(interval)bool
isfinite(timestamp)bool
isfinite(timestamptz)bool
json_array_length(json)int4
json_typeof(json)text
jsonb_array_length(jsonb)int4
jsonb_extract_path(jsonb,*_text)jsonb
jsonb_extract_path_text(jsonb,*_text)text
jsonb_pretty(jsonb)text
jsonb_set(jsonb,_text,jsonb,bool)jsonb =1
jsonb_strip_nulls(jsonb)jsonb @15
jsonb_strip_nulls(jsonb,bool)jsonb =1 @18
jsonb_typeof(jsonb)text
justify_days(interval)interval
justify_hours(interval)interval
justify_interval(interval)interval
lcm(int4,int4)int4
lcm(int8,int8)int8
lcm(numeric,numeric)numeric
left(text,int4)text
length(bit)int4
length(bpchar)int4
length(bytea)int4
length(bytea,name)int4
length(lseg)float8
length(path)float8
length(text)int4
length(tsvector)int4
lower(anymultirange)anyelement
lower(anyrange)anyelement
lower(text)text
lower_inc(anymultirange)bool
lower_inc(anyrange)bool
lower_inf(anymultirange)bool
lower_inf(anyrange)bool
lpad(text,int4)text
lpad(text,int4,text)text
ltrim(bytea,bytea)bytea
ltrim(text)text
ltrim(text,text)text
make_date(int4,int4,int4)date
make_time(int4,int4,float8)time
make_timestamp(int4,int4,int4,int4,int4,float8)timestamp
masklen(inet)int4
md5(bytea)text
md5(text)text
min_scale(numeric)int4
mod(int2,int2)int2
mod(int4,int4)int4
mod(int8,int8)int8
mod(numeric,numeric)numeric
netmask(inet)inet
network(inet)cidr
num_nonnulls(*any)int4 lax
num_nulls(*any)int4 lax
octet_length(bit)int4
octet_length(bpchar)int4
octet_length(bytea)int4
octet_length(text)int4
overlay(bit,bit,int4)bit
overlay(bit,bit,int4,int4)bit
overlay(bytea,bytea,int4)bytea
overlay(bytea,bytea,int4,int4)bytea
overlay(text,text,int4)text
overlay(text,text,int4,int4)text
pi()float8
position(bit,bit)int4
position(bytea,bytea)int4
position(text,text)int4
quote_ident(text)text
quote_literal(anyelement)text
quote_literal(text)text
quote_nullable(anyelement)text lax
quote_nullable(text)text lax
radians(float8)float8
regexp_like(text,text)bool
regexp_like(text,text,text)bool
regexp_replace(text,text,text)text
regexp_replace(text,text,text,int4)text
regexp_replace(text,text,text,int4,int4)text
regexp_replace(text,text,text,int4,int4,text)text
regexp_replace(text,text,text,text)text
repeat(text,int4)text
replace(text,text,text)text
reverse(bytea)bytea @18
reverse(text)text
right(text,int4)text
round(float8)float8
round(numeric)numeric
round(numeric,int4)numeric
rpad(text,int4)text
rpad(text,int4,text)text
rtrim(bytea,bytea)bytea
rtrim(text)text
rtrim(text,text)text
scale(numeric)int4
set_byte(bytea,int4,int4)bytea
set_masklen(cidr,int4)cidr
set_masklen(inet,int4)inet
sign(float8)float8
sign(numeric)numeric
split_part(text,text,int4)text
sqrt(float8)float8
sqrt(numeric)numeric
starts_with(text,text)bool
string_to_array(text,text)_text lax
string_to_array(text,text,text)_text lax
strpos(text,text)int4
substr(bytea,int4)bytea
substr(bytea,int4,int4)bytea
substr(text,int4)text
substr(text,int4,int4)text
substring(bit,int4)bit
substring(bit,int4,int4)bit
substring(bytea,int4)bytea
substring(bytea,int4,int4)bytea
substring(text,int4)text
substring(text,int4,int4)text
substring(text,text)text
substring(text,text,text)text
timezone(interval,timestamp)timestamptz
timezone(interval,timestamptz)timestamp
timezone(interval,timetz)timetz
timezone(text,timestamp)timestamptz
timezone(text,timestamptz)timestamp
timezone(text,timetz)timetz
timezone(timestamp)timestamptz @18
timezone(timestamptz)timestamp @18
timezone(timetz)timetz @18
to_char(float4,text)text
to_char(float8,text)text
to_char(int4,text)text
to_char(int8,text)text
to_char(interval,text)text
to_char(numeric,text)text
to_char(timestamp,text)text
to_char(timestamptz,text)text
to_date(text,text)date
to_hex(int4)text
to_hex(int8)text
to_timestamp(float8)timestamptz
to_timestamp(text,text)timestamptz
translate(text,text,text)text
trim_scale(numeric)numeric
trunc(float8)float8
trunc(macaddr)macaddr
trunc(macaddr8)macaddr8
trunc(numeric)numeric
trunc(numeric,int4)numeric
upper(anymultirange)anyelement
upper(anyrange)anyelement
upper(text)text
upper_inc(anymultirange)bool
upper_inc(anyrange)bool
upper_inf(anymultirange)bool
upper_inf(anyrange)bool
`;

/** Operators: name, left operand or -, right operand, result. */
export const OPERATOR_LIST = `
!~ bpchar text bool
!~ name text bool
!~ text text bool
!~* bpchar text bool
!~* name text bool
!~* text text bool
!~~ bpchar text bool
!~~ bytea bytea bool
!~~ name text bool
!~~ text text bool
!~~* bpchar text bool
!~~* name text bool
!~~* text text bool
# bit bit bit
# int2 int2 int2
# int4 int4 int4
# int8 int8 int8
#- jsonb _text jsonb
#> json _text json
#> jsonb _text jsonb
#>> json _text text
#>> jsonb _text text
% int2 int2 int2
% int4 int4 int4
% int8 int8 int8
% numeric numeric numeric
& bit bit bit
& inet inet inet
& int2 int2 int2
& int4 int4 int4
& int8 int8 int8
& macaddr macaddr macaddr
& macaddr8 macaddr8 macaddr8
&& anyarray anyarray bool
&& anymultirange anymultirange bool
&& anymultirange anyrange bool
&& anyrange anymultirange bool
&& anyrange anyrange bool
&& inet inet bool
&< anymultirange anymultirange bool
&< anymultirange anyrange bool
&< anyrange anymultirange bool
&< anyrange anyrange bool
&> anymultirange anymultirange bool
&> anymultirange anyrange bool
&> anyrange anymultirange bool
&> anyrange anyrange bool
* anymultirange anymultirange anymultirange
* anyrange anyrange anyrange
* float4 float4 float4
* float4 float8 float8
* float8 float4 float8
* float8 float8 float8
* float8 interval interval
* int2 int2 int2
* int2 int4 int4
* int2 int8 int8
* int4 int2 int4
* int4 int4 int4
* int4 int8 int8
* int8 int2 int8
* int8 int4 int8
* int8 int8 int8
* interval float8 interval
* numeric numeric numeric
*< record record bool
*<= record record bool
*<> record record bool
*= record record bool
*> record record bool
*>= record record bool
+ - float4 float4
+ - float8 float8
+ - int2 int2
+ - int4 int4
+ - int8 int8
+ - numeric numeric
+ anymultirange anymultirange anymultirange
+ anyrange anyrange anyrange
+ date int4 date
+ date interval timestamp
+ date time timestamp
+ date timetz timestamptz
+ float4 float4 float4
+ float4 float8 float8
+ float8 float4 float8
+ float8 float8 float8
+ inet int8 inet
+ int2 int2 int2
+ int2 int4 int4
+ int2 int8 int8
+ int4 date date
+ int4 int2 int4
+ int4 int4 int4
+ int4 int8 int8
+ int8 inet inet
+ int8 int2 int8
+ int8 int4 int8
+ int8 int8 int8
+ interval date timestamp
+ interval interval interval
+ interval time time
+ interval timestamp timestamp
+ interval timestamptz timestamptz
+ interval timetz timetz
+ numeric numeric numeric
+ time date timestamp
+ time interval time
+ timestamp interval timestamp
+ timestamptz interval timestamptz
+ timetz date timestamptz
+ timetz interval timetz
- - float4 float4
- - float8 float8
- - int2 int2
- - int4 int4
- - int8 int8
- - interval interval
- - numeric numeric
- anymultirange anymultirange anymultirange
- anyrange anyrange anyrange
- date date int4
- date int4 date
- date interval timestamp
- float4 float4 float4
- float4 float8 float8
- float8 float4 float8
- float8 float8 float8
- inet inet int8
- inet int8 inet
- int2 int2 int2
- int2 int4 int4
- int2 int8 int8
- int4 int2 int4
- int4 int4 int4
- int4 int8 int8
- int8 int2 int8
- int8 int4 int8
- int8 int8 int8
- interval interval interval
- jsonb _text jsonb
- jsonb int4 jsonb
- jsonb text jsonb
- numeric numeric numeric
- time interval time
- time time interval
- timestamp interval timestamp
- timestamp timestamp interval
- timestamptz interval timestamptz
- timestamptz timestamptz interval
- timetz interval timetz
-> json int4 json
-> json text json
-> jsonb int4 jsonb
-> jsonb text jsonb
->> json int4 text
->> json text text
->> jsonb int4 text
->> jsonb text text
-|- anymultirange anymultirange bool
-|- anymultirange anyrange bool
-|- anyrange anymultirange bool
-|- anyrange anyrange bool
/ float4 float4 float4
/ float4 float8 float8
/ float8 float4 float8
/ float8 float8 float8
/ int2 int2 int2
/ int2 int4 int4
/ int2 int8 int8
/ int4 int2 int4
/ int4 int4 int4
/ int4 int8 int8
/ int8 int2 int8
/ int8 int4 int8
/ int8 int8 int8
/ interval float8 interval
/ numeric numeric numeric
< anyarray anyarray bool
< anyenum anyenum bool
< anymultirange anymultirange bool
< anyrange anyrange bool
< bit bit bool
< bool bool bool
< bpchar bpchar bool
< bytea bytea bool
< char char bool
< date date bool
< date timestamp bool
< date timestamptz bool
< float4 float4 bool
< float4 float8 bool
< float8 float4 bool
< float8 float8 bool
< inet inet bool
< int2 int2 bool
< int2 int4 bool
< int2 int8 bool
< int4 int2 bool
< int4 int4 bool
< int4 int8 bool
< int8 int2 bool
< int8 int4 bool
< int8 int8 bool
< interval interval bool
< jsonb jsonb bool
< macaddr macaddr bool
< macaddr8 macaddr8 bool
< name name bool
< name text bool
< numeric numeric bool
< oid oid bool
< oidvector oidvector bool
< record record bool
< text name bool
< text text bool
< time time bool
< timestamp date bool
< timestamp timestamp bool
< timestamp timestamptz bool
< timestamptz date bool
< timestamptz timestamp bool
< timestamptz timestamptz bool
< timetz timetz bool
< uuid uuid bool
< varbit varbit bool
<< anymultirange anymultirange bool
<< anymultirange anyrange bool
<< anyrange anymultirange bool
<< anyrange anyrange bool
<< bit int4 bit
<< inet inet bool
<< int2 int4 int2
<< int4 int4 int4
<< int8 int4 int8
<<= inet inet bool
<= anyarray anyarray bool
<= anyenum anyenum bool
<= anymultirange anymultirange bool
<= anyrange anyrange bool
<= bit bit bool
<= bool bool bool
<= bpchar bpchar bool
<= bytea bytea bool
<= char char bool
<= date date bool
<= date timestamp bool
<= date timestamptz bool
<= float4 float4 bool
<= float4 float8 bool
<= float8 float4 bool
<= float8 float8 bool
<= inet inet bool
<= int2 int2 bool
<= int2 int4 bool
<= int2 int8 bool
<= int4 int2 bool
<= int4 int4 bool
<= int4 int8 bool
<= int8 int2 bool
<= int8 int4 bool
<= int8 int8 bool
<= interval interval bool
<= jsonb jsonb bool
<= macaddr macaddr bool
<= macaddr8 macaddr8 bool
<= name name bool
<= name text bool
<= numeric numeric bool
<= oid oid bool
<= oidvector oidvector bool
<= record record bool
<= text name bool
<= text text bool
<= time time bool
<= timestamp date bool
<= timestamp timestamp bool
<= timestamp timestamptz bool
<= timestamptz date bool
<= timestamptz timestamp bool
<= timestamptz timestamptz bool
<= timetz timetz bool
<= uuid uuid bool
<= varbit varbit bool
<> anyarray anyarray bool
<> anyenum anyenum bool
<> anymultirange anymultirange bool
<> anyrange anyrange bool
<> bit bit bool
<> bool bool bool
<> bpchar bpchar bool
<> bytea bytea bool
<> char char bool
<> date date bool
<> date timestamp bool
<> date timestamptz bool
<> float4 float4 bool
<> float4 float8 bool
<> float8 float4 bool
<> float8 float8 bool
<> inet inet bool
<> int2 int2 bool
<> int2 int4 bool
<> int2 int8 bool
<> int4 int2 bool
<> int4 int4 bool
<> int4 int8 bool
<> int8 int2 bool
<> int8 int4 bool
<> int8 int8 bool
<> interval interval bool
<> jsonb jsonb bool
<> macaddr macaddr bool
<> macaddr8 macaddr8 bool
<> name name bool
<> name text bool
<> numeric numeric bool
<> oid oid bool
<> oidvector oidvector bool
<> record record bool
<> text name bool
<> text text bool
<> time time bool
<> timestamp date bool
<> timestamp timestamp bool
<> timestamp timestamptz bool
<> timestamptz date bool
<> timestamptz timestamp bool
<> timestamptz timestamptz bool
<> timetz timetz bool
<> uuid uuid bool
<> varbit varbit bool
<@ anyarray anyarray bool
<@ anyelement anymultirange bool
<@ anyelement anyrange bool
<@ anymultirange anymultirange bool
<@ anymultirange anyrange bool
<@ anyrange anymultirange bool
<@ anyrange anyrange bool
<@ jsonb jsonb bool
= anyarray anyarray bool
= anyenum anyenum bool
= anymultirange anymultirange bool
= anyrange anyrange bool
= bit bit bool
= bool bool bool
= bpchar bpchar bool
= bytea bytea bool
= char char bool
= date date bool
= date timestamp bool
= date timestamptz bool
= float4 float4 bool
= float4 float8 bool
= float8 float4 bool
= float8 float8 bool
= inet inet bool
= int2 int2 bool
= int2 int4 bool
= int2 int8 bool
= int4 int2 bool
= int4 int4 bool
= int4 int8 bool
= int8 int2 bool
= int8 int4 bool
= int8 int8 bool
= interval interval bool
= jsonb jsonb bool
= macaddr macaddr bool
= macaddr8 macaddr8 bool
= name name bool
= name text bool
= numeric numeric bool
= oid oid bool
= oidvector oidvector bool
= record record bool
= text name bool
= text text bool
= time time bool
= timestamp date bool
= timestamp timestamp bool
= timestamp timestamptz bool
= timestamptz date bool
= timestamptz timestamp bool
= timestamptz timestamptz bool
= timetz timetz bool
= uuid uuid bool
= varbit varbit bool
> anyarray anyarray bool
> anyenum anyenum bool
> anymultirange anymultirange bool
> anyrange anyrange bool
> bit bit bool
> bool bool bool
> bpchar bpchar bool
> bytea bytea bool
> char char bool
> date date bool
> date timestamp bool
> date timestamptz bool
> float4 float4 bool
> float4 float8 bool
> float8 float4 bool
> float8 float8 bool
> inet inet bool
> int2 int2 bool
> int2 int4 bool
> int2 int8 bool
> int4 int2 bool
> int4 int4 bool
> int4 int8 bool
> int8 int2 bool
> int8 int4 bool
> int8 int8 bool
> interval interval bool
> jsonb jsonb bool
> macaddr macaddr bool
> macaddr8 macaddr8 bool
> name name bool
> name text bool
> numeric numeric bool
> oid oid bool
> oidvector oidvector bool
> record record bool
> text name bool
> text text bool
> time time bool
> timestamp date bool
> timestamp timestamp bool
> timestamp timestamptz bool
> timestamptz date bool
> timestamptz timestamp bool
> timestamptz timestamptz bool
> timetz timetz bool
> uuid uuid bool
> varbit varbit bool
>= anyarray anyarray bool
>= anyenum anyenum bool
>= anymultirange anymultirange bool
>= anyrange anyrange bool
>= bit bit bool
>= bool bool bool
>= bpchar bpchar bool
>= bytea bytea bool
>= char char bool
>= date date bool
>= date timestamp bool
>= date timestamptz bool
>= float4 float4 bool
>= float4 float8 bool
>= float8 float4 bool
>= float8 float8 bool
>= inet inet bool
>= int2 int2 bool
>= int2 int4 bool
>= int2 int8 bool
>= int4 int2 bool
>= int4 int4 bool
>= int4 int8 bool
>= int8 int2 bool
>= int8 int4 bool
>= int8 int8 bool
>= interval interval bool
>= jsonb jsonb bool
>= macaddr macaddr bool
>= macaddr8 macaddr8 bool
>= name name bool
>= name text bool
>= numeric numeric bool
>= oid oid bool
>= oidvector oidvector bool
>= record record bool
>= text name bool
>= text text bool
>= time time bool
>= timestamp date bool
>= timestamp timestamp bool
>= timestamp timestamptz bool
>= timestamptz date bool
>= timestamptz timestamp bool
>= timestamptz timestamptz bool
>= timetz timetz bool
>= uuid uuid bool
>= varbit varbit bool
>> anymultirange anymultirange bool
>> anymultirange anyrange bool
>> anyrange anymultirange bool
>> anyrange anyrange bool
>> bit int4 bit
>> inet inet bool
>> int2 int4 int2
>> int4 int4 int4
>> int8 int4 int8
>>= inet inet bool
? jsonb text bool
?& jsonb _text bool
?| jsonb _text bool
@ - float4 float4
@ - float8 float8
@ - int2 int2
@ - int4 int4
@ - int8 int8
@ - numeric numeric
@> anyarray anyarray bool
@> anymultirange anyelement bool
@> anymultirange anymultirange bool
@> anymultirange anyrange bool
@> anyrange anyelement bool
@> anyrange anymultirange bool
@> anyrange anyrange bool
@> jsonb jsonb bool
@@ text text bool
^ float8 float8 float8
^ numeric numeric numeric
^@ text text bool
| bit bit bit
| inet inet inet
| int2 int2 int2
| int4 int4 int4
| int8 int8 int8
| macaddr macaddr macaddr
| macaddr8 macaddr8 macaddr8
|/ - float8 float8
|| anycompatible anycompatiblearray anycompatiblearray
|| anycompatiblearray anycompatible anycompatiblearray
|| anycompatiblearray anycompatiblearray anycompatiblearray
|| anynonarray text text
|| bytea bytea bytea
|| jsonb jsonb jsonb
|| text anynonarray text
|| text text text
|| varbit varbit varbit
||/ - float8 float8
~ - bit bit
~ - inet inet
~ - int2 int2
~ - int4 int4
~ - int8 int8
~ - macaddr macaddr
~ - macaddr8 macaddr8
~ bpchar text bool
~ name text bool
~ text text bool
~* bpchar text bool
~* name text bool
~* text text bool
~<=~ bpchar bpchar bool
~<=~ text text bool
~<~ bpchar bpchar bool
~<~ text text bool
~>=~ bpchar bpchar bool
~>=~ text text bool
~>~ bpchar bpchar bool
~>~ text text bool
~~ bpchar text bool
~~ bytea bytea bool
~~ name text bool
~~ text text bool
~~* bpchar text bool
~~* name text bool
~~* text text bool
`;

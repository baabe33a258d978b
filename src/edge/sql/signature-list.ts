// Written by the command in signatures.pg.test.ts from the catalogues of Postgres 15 and 18. Types are named as in pg_type.
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
acos(float8)float8
acosd(float8)float8
acosh(float8)float8
age(timestamp)interval
age(timestamp,timestamp)interval
age(timestamptz)interval
age(timestamptz,timestamptz)interval
age(xid)int4
amvalidate(oid)bool
any_value(anyelement)anyelement agg lax @18
anyarray_send(anyarray)bytea
anycompatiblearray_send(anycompatiblearray)bytea
anytextcat(anynonarray,text)text
area(box)float8
area(circle)float8
area(path)float8
array_agg(anyarray)anyarray agg lax
array_agg(anynonarray)anyarray agg lax
array_append(anycompatiblearray,anycompatible)anycompatiblearray lax
array_cat(anycompatiblearray,anycompatiblearray)anycompatiblearray lax
array_dims(anyarray)text
array_fill(anyelement,_int4)anyarray lax
array_fill(anyelement,_int4,_int4)anyarray lax
array_larger(anyarray,anyarray)anyarray
array_length(anyarray,int4)int4
array_lower(anyarray,int4)int4
array_ndims(anyarray)int4
array_position(anycompatiblearray,anycompatible)int4 lax
array_position(anycompatiblearray,anycompatible,int4)int4 lax
array_positions(anycompatiblearray,anycompatible)_int4 lax
array_prepend(anycompatible,anycompatiblearray)anycompatiblearray lax
array_remove(anycompatiblearray,anycompatible)anycompatiblearray lax
array_replace(anycompatiblearray,anycompatible,anycompatible)anycompatiblearray lax
array_reverse(anyarray)anyarray @18
array_smaller(anyarray,anyarray)anyarray
array_sort(anyarray)anyarray @18
array_sort(anyarray,bool)anyarray @18
array_sort(anyarray,bool,bool)anyarray @18
array_to_json(anyarray)json
array_to_json(anyarray,bool)json
array_to_string(anyarray,text)text
array_to_string(anyarray,text,text)text lax
array_to_tsvector(_text)tsvector
array_upper(anyarray,int4)int4
arraycontained(anyarray,anyarray)bool
arraycontains(anyarray,anyarray)bool
arrayoverlap(anyarray,anyarray)bool
ascii(text)int4
asin(float8)float8
asind(float8)float8
asinh(float8)float8
atan(float8)float8
atan2(float8,float8)float8
atan2d(float8,float8)float8
atand(float8)float8
atanh(float8)float8
avg(float4)float8 agg lax
avg(float8)float8 agg lax
avg(int2)numeric agg lax
avg(int4)numeric agg lax
avg(int8)numeric agg lax
avg(interval)interval agg lax
avg(numeric)numeric agg lax
bit(bit,int4,bool)bit
bit(int4,int4)bit
bit(int8,int4)bit
bit_and(bit)bit agg lax
bit_and(int2)int2 agg lax
bit_and(int4)int4 agg lax
bit_and(int8)int8 agg lax
bit_count(bit)int8
bit_count(bytea)int8
bit_length(bit)int4
bit_length(bytea)int4
bit_length(text)int4
bit_or(bit)bit agg lax
bit_or(int2)int2 agg lax
bit_or(int4)int4 agg lax
bit_or(int8)int8 agg lax
bit_send(bit)bytea
bit_xor(bit)bit agg lax
bit_xor(int2)int2 agg lax
bit_xor(int4)int4 agg lax
bit_xor(int8)int8 agg lax
bool(int4)bool
bool(jsonb)bool
bool_and(bool)bool agg lax
bool_or(bool)bool agg lax
booland_statefunc(bool,bool)bool
booleq(bool,bool)bool
boolge(bool,bool)bool
boolgt(bool,bool)bool
boolle(bool,bool)bool
boollt(bool,bool)bool
boolne(bool,bool)bool
boolor_statefunc(bool,bool)bool
boolsend(bool)bytea
bound_box(box,box)box
bpchar(bpchar,int4,bool)bpchar
bpchar(char)bpchar
bpchar(name)bpchar
bpchar_larger(bpchar,bpchar)bpchar
bpchar_pattern_ge(bpchar,bpchar)bool
bpchar_pattern_gt(bpchar,bpchar)bool
bpchar_pattern_le(bpchar,bpchar)bool
bpchar_pattern_lt(bpchar,bpchar)bool
bpchar_smaller(bpchar,bpchar)bpchar
broadcast(inet)inet
btarraycmp(anyarray,anyarray)int4
btboolcmp(bool,bool)int4
btcharcmp(char,char)int4
btequalimage(oid)bool
btfloat48cmp(float4,float8)int4
btfloat4cmp(float4,float4)int4
btfloat84cmp(float8,float4)int4
btfloat8cmp(float8,float8)int4
btint24cmp(int2,int4)int4
btint28cmp(int2,int8)int4
btint2cmp(int2,int2)int4
btint42cmp(int4,int2)int4
btint48cmp(int4,int8)int4
btint4cmp(int4,int4)int4
btint82cmp(int8,int2)int4
btint84cmp(int8,int4)int4
btint8cmp(int8,int8)int4
btnamecmp(name,name)int4
btnametextcmp(name,text)int4
btoidcmp(oid,oid)int4
btoidvectorcmp(oidvector,oidvector)int4
btrecordcmp(record,record)int4
btrecordimagecmp(record,record)int4
btrim(bytea,bytea)bytea
btrim(text)text
btrim(text,text)text
bttextcmp(text,text)int4
bttextnamecmp(text,name)int4
bttidcmp(tid,tid)int4
btvarstrequalimage(oid)bool
bytea(int2)bytea @18
bytea(int4)bytea @18
bytea(int8)bytea @18
bytea_larger(bytea,bytea)bytea @18
bytea_smaller(bytea,bytea)bytea @18
cardinality(anyarray)int4
casefold(text)text @18
cbrt(float8)float8
ceil(float8)float8
ceil(numeric)numeric
ceiling(float8)float8
ceiling(numeric)numeric
center(box)point
center(circle)point
char(int4)char
char(text)char
char_length(bpchar)int4
char_length(text)int4
character_length(bpchar)int4
character_length(text)int4
chareq(char,char)bool
charge(char,char)bool
chargt(char,char)bool
charle(char,char)bool
charlt(char,char)bool
charne(char,char)bool
charsend(char)bytea
chr(int4)text
cideq(cid,cid)bool
cidr(inet)cidr
cidr_send(cidr)bytea
cidsend(cid)bytea
clock_timestamp()timestamptz
close_ls(line,lseg)point
close_lseg(lseg,lseg)point
close_pb(point,box)point
close_pl(point,line)point
close_ps(point,lseg)point
close_sb(lseg,box)point
concat(*any)text lax
concat_ws(text,*any)text lax
convert(bytea,name,name)bytea
convert_from(bytea,name)text
convert_to(text,name)bytea
corr(float8,float8)float8 agg lax
cos(float8)float8
cosd(float8)float8
cosh(float8)float8
cot(float8)float8
cotd(float8)float8
count()int8 agg lax
count(any)int8 agg lax
covar_pop(float8,float8)float8 agg lax
covar_samp(float8,float8)float8 agg lax
crc32(bytea)int8 @18
crc32c(bytea)int8 @18
cume_dist()float8 win lax
cume_dist(*any)float8 agg lax
current_database()name
current_query()text lax
current_schema()name
current_schemas(bool)_name
current_setting(text)text
current_setting(text,bool)text
current_user()name
currval(regclass)int8
date(timestamp)date
date(timestamptz)date
date_add(timestamptz,interval)timestamptz @18
date_add(timestamptz,interval,text)timestamptz @18
date_bin(interval,timestamp,timestamp)timestamp
date_bin(interval,timestamptz,timestamptz)timestamptz
date_eq(date,date)bool
date_ge(date,date)bool
date_gt(date,date)bool
date_larger(date,date)date
date_le(date,date)bool
date_lt(date,date)bool
date_mi(date,date)int4
date_mii(date,int4)date
date_ne(date,date)bool
date_part(text,date)float8
date_part(text,interval)float8
date_part(text,time)float8
date_part(text,timestamp)float8
date_part(text,timestamptz)float8
date_part(text,timetz)float8
date_pli(date,int4)date
date_send(date)bytea
date_smaller(date,date)date
date_subtract(timestamptz,interval)timestamptz @18
date_subtract(timestamptz,interval,text)timestamptz @18
date_trunc(text,interval)interval
date_trunc(text,timestamp)timestamp
date_trunc(text,timestamptz)timestamptz
date_trunc(text,timestamptz,text)timestamptz
datemultirange()datemultirange
datemultirange(*_daterange)datemultirange
datemultirange(daterange)datemultirange
daterange(date,date)daterange lax
daterange(date,date,text)daterange lax
daterange_canonical(daterange)daterange
daterange_subdiff(date,date)float8
datetime_pl(date,time)timestamp
datetimetz_pl(date,timetz)timestamptz
dcbrt(float8)float8
decode(text,text)bytea
degrees(float8)float8
dense_rank()int8 win lax
dense_rank(*any)int8 agg lax
dexp(float8)float8
diagonal(box)lseg
diameter(circle)float8
dist_bp(box,point)float8
dist_bs(box,lseg)float8
dist_cpoint(circle,point)float8
dist_cpoly(circle,polygon)float8
dist_lp(line,point)float8
dist_ls(line,lseg)float8
dist_pathp(path,point)float8
dist_pb(point,box)float8
dist_pc(point,circle)float8
dist_pl(point,line)float8
dist_polyc(polygon,circle)float8
dist_polyp(polygon,point)float8
dist_ppath(point,path)float8
dist_ppoly(point,polygon)float8
dist_ps(point,lseg)float8
dist_sb(lseg,box)float8
dist_sl(lseg,line)float8
dist_sp(lseg,point)float8
div(numeric,numeric)numeric
dlog1(float8)float8
dlog10(float8)float8
dpow(float8,float8)float8
dround(float8)float8
dsqrt(float8)float8
dtrunc(float8)float8
elem_contained_by_multirange(anyelement,anymultirange)bool
elem_contained_by_range(anyelement,anyrange)bool
encode(bytea,text)text
enum_first(anyenum)anyenum lax
enum_larger(anyenum,anyenum)anyenum
enum_last(anyenum)anyenum lax
enum_range(anyenum)anyarray lax
enum_range(anyenum,anyenum)anyarray lax
enum_send(anyenum)bytea
enum_smaller(anyenum,anyenum)anyenum
erf(float8)float8 @18
erfc(float8)float8 @18
every(bool)bool agg lax
exp(float8)float8
exp(numeric)numeric
extract(text,date)numeric
extract(text,interval)numeric
extract(text,time)numeric
extract(text,timestamp)numeric
extract(text,timestamptz)numeric
extract(text,timetz)numeric
factorial(int8)numeric
family(inet)int4
first_value(anyelement)anyelement win
floor(float8)float8
floor(numeric)numeric
flt4_mul_cash(float4,money)money
flt8_mul_cash(float8,money)money
fmgr_c_validator(oid)void
fmgr_internal_validator(oid)void
fmgr_sql_validator(oid)void
format(text)text lax
format(text,*any)text lax
format_type(oid,int4)text lax
gamma(float8)float8 @18
gcd(int4,int4)int4
gcd(int8,int8)int8
gcd(numeric,numeric)numeric
gen_random_uuid()uuid
generate_series(int4,int4)setof int4
generate_series(int4,int4,int4)setof int4
generate_series(int8,int8)setof int8
generate_series(int8,int8,int8)setof int8
generate_series(numeric,numeric)setof numeric
generate_series(numeric,numeric,numeric)setof numeric
generate_series(timestamp,timestamp,interval)setof timestamp
generate_series(timestamptz,timestamptz,interval)setof timestamptz
generate_series(timestamptz,timestamptz,interval,text)setof timestamptz @18
generate_subscripts(anyarray,int4)setof int4
generate_subscripts(anyarray,int4,bool)setof int4
get_bit(bit,int4)int4
get_bit(bytea,int8)int4
get_byte(bytea,int4)int4
get_current_ts_config()regconfig
getdatabaseencoding()name
getpgusername()name
height(box)float8
host(inet)text
hostmask(inet)inet
icu_unicode_version()text @18
in_range(date,date,interval,bool,bool)bool
in_range(float4,float4,float8,bool,bool)bool
in_range(float8,float8,float8,bool,bool)bool
in_range(int2,int2,int2,bool,bool)bool
in_range(int2,int2,int4,bool,bool)bool
in_range(int2,int2,int8,bool,bool)bool
in_range(int4,int4,int2,bool,bool)bool
in_range(int4,int4,int4,bool,bool)bool
in_range(int4,int4,int8,bool,bool)bool
in_range(int8,int8,int8,bool,bool)bool
in_range(interval,interval,interval,bool,bool)bool
in_range(numeric,numeric,numeric,bool,bool)bool
in_range(time,time,interval,bool,bool)bool
in_range(timestamp,timestamp,interval,bool,bool)bool
in_range(timestamptz,timestamptz,interval,bool,bool)bool
in_range(timetz,timetz,interval,bool,bool)bool
inet_merge(inet,inet)cidr
inet_same_family(inet,inet)bool
inet_send(inet)bytea
inetand(inet,inet)inet
inetmi(inet,inet)int8
inetmi_int8(inet,int8)inet
inetnot(inet)inet
inetor(inet,inet)inet
inetpl(inet,int8)inet
initcap(text)text
int2(bytea)int2 @18
int2(float4)int2
int2(float8)int2
int2(int4)int2
int2(int8)int2
int2(jsonb)int2
int2(numeric)int2
int2_mul_cash(int2,money)money
int2_sum(int8,int2)int8 lax
int4(bit)int4
int4(bool)int4
int4(bytea)int4 @18
int4(char)int4
int4(float4)int4
int4(float8)int4
int4(int2)int4
int4(int8)int4
int4(jsonb)int4
int4(numeric)int4
int4_avg_combine(_int8,_int8)_int8
int4_mul_cash(int4,money)money
int4_sum(int8,int4)int8 lax
int4mul(int4,int4)int4
int4multirange()int4multirange
int4multirange(*_int4range)int4multirange
int4multirange(int4range)int4multirange
int8(bit)int8
int8(bytea)int8 @18
int8(float4)int8
int8(float8)int8
int8(int2)int8
int8(int4)int8
int8(jsonb)int8
int8(numeric)int8
int8(oid)int8
int8_avg(_int8)numeric
int8_mul_cash(int8,money)money
int8_sum(numeric,int8)numeric lax
integer_pl_date(int4,date)date
inter_lb(line,box)bool
inter_sb(lseg,box)bool
inter_sl(lseg,line)bool
interval(interval,int4)interval
interval(time)interval
intervaltypmodin(_cstring)int4
is_normalized(text,text)bool =1
isclosed(path)bool
isempty(anymultirange)bool
isempty(anyrange)bool
isfinite(date)bool
isfinite(interval)bool
isfinite(timestamp)bool
isfinite(timestamptz)bool
ishorizontal(line)bool
ishorizontal(lseg)bool
ishorizontal(point,point)bool
isopen(path)bool
isparallel(line,line)bool
isparallel(lseg,lseg)bool
isperp(line,line)bool
isperp(lseg,lseg)bool
isvertical(line)bool
isvertical(lseg)bool
isvertical(point,point)bool
json_agg(anyelement)json agg lax
json_agg_strict(anyelement)json agg lax @18
json_array_element(json,int4)json
json_array_element_text(json,int4)text
json_array_elements(json)setof json
json_array_elements_text(json)setof text
json_array_length(json)int4
json_build_array()json lax
json_build_array(*any)json lax
json_build_object()json lax
json_build_object(*any)json lax
json_each(json)setof record
json_each_text(json)setof record
json_extract_path(json,*_text)json
json_extract_path_text(json,*_text)text
json_object(_text)json
json_object(_text,_text)json
json_object_agg(any,any)json agg lax
json_object_agg_strict(any,any)json agg lax @18
json_object_agg_unique(any,any)json agg lax @18
json_object_agg_unique_strict(any,any)json agg lax @18
json_object_field(json,text)json
json_object_field_text(json,text)text
json_object_keys(json)setof text
json_populate_record(anyelement,json,bool)anyelement =1 lax
json_populate_recordset(anyelement,json,bool)setof anyelement =1 lax
json_send(json)bytea
json_strip_nulls(json)json @15
json_strip_nulls(json,bool)json =1 @18
json_to_record(json)record
json_to_recordset(json)setof record lax
json_to_tsvector(json,jsonb)tsvector
json_to_tsvector(regconfig,json,jsonb)tsvector
json_typeof(json)text
jsonb_agg(anyelement)jsonb agg lax
jsonb_agg_strict(anyelement)jsonb agg lax @18
jsonb_array_element(jsonb,int4)jsonb
jsonb_array_element_text(jsonb,int4)text
jsonb_array_elements(jsonb)setof jsonb
jsonb_array_elements_text(jsonb)setof text
jsonb_array_length(jsonb)int4
jsonb_build_array()jsonb lax
jsonb_build_array(*any)jsonb lax
jsonb_build_object()jsonb lax
jsonb_build_object(*any)jsonb lax
jsonb_concat(jsonb,jsonb)jsonb
jsonb_contained(jsonb,jsonb)bool
jsonb_contains(jsonb,jsonb)bool
jsonb_delete(jsonb,*_text)jsonb
jsonb_delete(jsonb,int4)jsonb
jsonb_delete(jsonb,text)jsonb
jsonb_delete_path(jsonb,_text)jsonb
jsonb_each(jsonb)setof record
jsonb_each_text(jsonb)setof record
jsonb_exists(jsonb,text)bool
jsonb_exists_all(jsonb,_text)bool
jsonb_exists_any(jsonb,_text)bool
jsonb_extract_path(jsonb,*_text)jsonb
jsonb_extract_path_text(jsonb,*_text)text
jsonb_hash(jsonb)int4
jsonb_hash_extended(jsonb,int8)int8
jsonb_insert(jsonb,_text,jsonb,bool)jsonb =1
jsonb_object(_text)jsonb
jsonb_object(_text,_text)jsonb
jsonb_object_agg(any,any)jsonb agg lax
jsonb_object_agg_strict(any,any)jsonb agg lax @18
jsonb_object_agg_unique(any,any)jsonb agg lax @18
jsonb_object_agg_unique_strict(any,any)jsonb agg lax @18
jsonb_object_field(jsonb,text)jsonb
jsonb_object_field_text(jsonb,text)text
jsonb_object_keys(jsonb)setof text
jsonb_path_exists(jsonb,jsonpath,jsonb,bool)bool =2
jsonb_path_exists_opr(jsonb,jsonpath)bool
jsonb_path_exists_tz(jsonb,jsonpath,jsonb,bool)bool =2
jsonb_path_match(jsonb,jsonpath,jsonb,bool)bool =2
jsonb_path_match_opr(jsonb,jsonpath)bool
jsonb_path_match_tz(jsonb,jsonpath,jsonb,bool)bool =2
jsonb_path_query(jsonb,jsonpath,jsonb,bool)setof jsonb =2
jsonb_path_query_array(jsonb,jsonpath,jsonb,bool)jsonb =2
jsonb_path_query_array_tz(jsonb,jsonpath,jsonb,bool)jsonb =2
jsonb_path_query_first(jsonb,jsonpath,jsonb,bool)jsonb =2
jsonb_path_query_first_tz(jsonb,jsonpath,jsonb,bool)jsonb =2
jsonb_path_query_tz(jsonb,jsonpath,jsonb,bool)setof jsonb =2
jsonb_populate_record(anyelement,jsonb)anyelement lax
jsonb_populate_record_valid(anyelement,jsonb)bool lax @18
jsonb_populate_recordset(anyelement,jsonb)setof anyelement lax
jsonb_pretty(jsonb)text
jsonb_send(jsonb)bytea
jsonb_set(jsonb,_text,jsonb,bool)jsonb =1
jsonb_set_lax(jsonb,_text,jsonb,bool,text)jsonb =2 lax
jsonb_strip_nulls(jsonb)jsonb @15
jsonb_strip_nulls(jsonb,bool)jsonb =1 @18
jsonb_to_record(jsonb)record
jsonb_to_recordset(jsonb)setof record lax
jsonb_to_tsvector(jsonb,jsonb)tsvector
jsonb_to_tsvector(regconfig,jsonb,jsonb)tsvector
jsonb_typeof(jsonb)text
jsonpath_send(jsonpath)bytea
justify_days(interval)interval
justify_hours(interval)interval
justify_interval(interval)interval
lag(anycompatible,int4,anycompatible)anycompatible win
lag(anyelement)anyelement win
lag(anyelement,int4)anyelement win
last_value(anyelement)anyelement win
lastval()int8
lcm(int4,int4)int4
lcm(int8,int8)int8
lcm(numeric,numeric)numeric
lead(anycompatible,int4,anycompatible)anycompatible win
lead(anyelement)anyelement win
lead(anyelement,int4)anyelement win
left(text,int4)text
length(bit)int4
length(bpchar)int4
length(bytea)int4
length(bytea,name)int4
length(lseg)float8
length(path)float8
length(text)int4
length(tsvector)int4
lgamma(float8)float8 @18
like(bytea,bytea)bool
like(name,text)bool
like(text,text)bool
like_escape(bytea,bytea)bytea
like_escape(text,text)text
ln(float8)float8
ln(numeric)numeric
log(float8)float8
log(numeric)numeric
log(numeric,numeric)numeric
log10(float8)float8
log10(numeric)numeric
loread(int4,int4)bytea
lower(anymultirange)anyelement
lower(anyrange)anyelement
lower(text)text
lower_inc(anymultirange)bool
lower_inc(anyrange)bool
lower_inf(anymultirange)bool
lower_inf(anyrange)bool
lowrite(int4,bytea)int4
lpad(text,int4)text
lpad(text,int4,text)text
ltrim(bytea,bytea)bytea
ltrim(text)text
ltrim(text,text)text
make_date(int4,int4,int4)date
make_interval(int4,int4,int4,int4,int4,int4,float8)interval =7
make_time(int4,int4,float8)time
make_timestamp(int4,int4,int4,int4,int4,float8)timestamp
make_timestamptz(int4,int4,int4,int4,int4,float8)timestamptz
make_timestamptz(int4,int4,int4,int4,int4,float8,text)timestamptz
makeaclitem(oid,oid,text,bool)aclitem
masklen(inet)int4
max(anyarray)anyarray agg lax
max(anyenum)anyenum agg lax
max(bpchar)bpchar agg lax
max(bytea)bytea agg lax @18
max(date)date agg lax
max(float4)float4 agg lax
max(float8)float8 agg lax
max(inet)inet agg lax
max(int2)int2 agg lax
max(int4)int4 agg lax
max(int8)int8 agg lax
max(interval)interval agg lax
max(money)money agg lax
max(numeric)numeric agg lax
max(oid)oid agg lax
max(pg_lsn)pg_lsn agg lax
max(record)record agg lax @18
max(text)text agg lax
max(tid)tid agg lax
max(time)time agg lax
max(timestamp)timestamp agg lax
max(timestamptz)timestamptz agg lax
max(timetz)timetz agg lax
max(xid8)xid8 agg lax
md5(bytea)text
md5(text)text
min(anyarray)anyarray agg lax
min(anyenum)anyenum agg lax
min(bpchar)bpchar agg lax
min(bytea)bytea agg lax @18
min(date)date agg lax
min(float4)float4 agg lax
min(float8)float8 agg lax
min(inet)inet agg lax
min(int2)int2 agg lax
min(int4)int4 agg lax
min(int8)int8 agg lax
min(interval)interval agg lax
min(money)money agg lax
min(numeric)numeric agg lax
min(oid)oid agg lax
min(pg_lsn)pg_lsn agg lax
min(record)record agg lax @18
min(text)text agg lax
min(tid)tid agg lax
min(time)time agg lax
min(timestamp)timestamp agg lax
min(timestamptz)timestamptz agg lax
min(timetz)timetz agg lax
min(xid8)xid8 agg lax
min_scale(numeric)int4
mod(int2,int2)int2
mod(int4,int4)int4
mod(int8,int8)int8
mod(numeric,numeric)numeric
mode(anyelement)anyelement agg lax
money(int4)money
money(int8)money
money(numeric)money
mul_d_interval(float8,interval)interval
multirange(anyrange)anymultirange
multirange_adjacent_multirange(anymultirange,anymultirange)bool
multirange_adjacent_range(anymultirange,anyrange)bool
multirange_after_multirange(anymultirange,anymultirange)bool
multirange_after_range(anymultirange,anyrange)bool
multirange_before_multirange(anymultirange,anymultirange)bool
multirange_before_range(anymultirange,anyrange)bool
multirange_contained_by_multirange(anymultirange,anymultirange)bool
multirange_contained_by_range(anymultirange,anyrange)bool
multirange_contains_elem(anymultirange,anyelement)bool
multirange_contains_multirange(anymultirange,anymultirange)bool
multirange_contains_range(anymultirange,anyrange)bool
multirange_eq(anymultirange,anymultirange)bool
multirange_ge(anymultirange,anymultirange)bool
multirange_gt(anymultirange,anymultirange)bool
multirange_intersect(anymultirange,anymultirange)anymultirange
multirange_le(anymultirange,anymultirange)bool
multirange_lt(anymultirange,anymultirange)bool
multirange_minus(anymultirange,anymultirange)anymultirange
multirange_ne(anymultirange,anymultirange)bool
multirange_overlaps_multirange(anymultirange,anymultirange)bool
multirange_overlaps_range(anymultirange,anyrange)bool
multirange_overleft_multirange(anymultirange,anymultirange)bool
multirange_overleft_range(anymultirange,anyrange)bool
multirange_overright_multirange(anymultirange,anymultirange)bool
multirange_overright_range(anymultirange,anyrange)bool
multirange_send(anymultirange)bytea
multirange_union(anymultirange,anymultirange)anymultirange
mxid_age(xid)int4
name(bpchar)name
name(text)name
name(varchar)name
netmask(inet)inet
network(inet)cidr
normalize(text,text)text =1
notlike(bytea,bytea)bool
notlike(name,text)bool
notlike(text,text)bool
now()timestamptz
npoints(path)int4
npoints(polygon)int4
nth_value(anyelement,int4)anyelement win
ntile(int4)int4 win
num_nonnulls(*any)int4 lax
num_nulls(*any)int4 lax
numeric(float4)numeric
numeric(float8)numeric
numeric(int2)numeric
numeric(int4)numeric
numeric(int8)numeric
numeric(jsonb)numeric
numeric(money)numeric
numeric(numeric,int4)numeric
numerictypmodin(_cstring)int4
nummultirange()nummultirange
nummultirange(*_numrange)nummultirange
nummultirange(numrange)nummultirange
numnode(tsquery)int4
numrange(numeric,numeric)numrange lax
numrange(numeric,numeric,text)numrange lax
numrange_subdiff(numeric,numeric)float8
octet_length(bit)int4
octet_length(bpchar)int4
octet_length(bytea)int4
octet_length(text)int4
oid(int8)oid
on_pb(point,box)bool
on_pl(point,line)bool
on_ppath(point,path)bool
on_ps(point,lseg)bool
on_sb(lseg,box)bool
on_sl(lseg,line)bool
overlaps(time,interval,time,interval)bool lax
overlaps(time,interval,time,time)bool lax
overlaps(time,time,time,interval)bool lax
overlaps(time,time,time,time)bool lax
overlaps(timestamp,interval,timestamp,interval)bool lax
overlaps(timestamp,interval,timestamp,timestamp)bool lax
overlaps(timestamp,timestamp,timestamp,interval)bool lax
overlaps(timestamp,timestamp,timestamp,timestamp)bool lax
overlaps(timestamptz,interval,timestamptz,interval)bool lax
overlaps(timestamptz,interval,timestamptz,timestamptz)bool lax
overlaps(timestamptz,timestamptz,timestamptz,interval)bool lax
overlaps(timestamptz,timestamptz,timestamptz,timestamptz)bool lax
overlaps(timetz,timetz,timetz,timetz)bool lax
overlay(bit,bit,int4)bit
overlay(bit,bit,int4,int4)bit
overlay(bytea,bytea,int4)bytea
overlay(bytea,bytea,int4,int4)bytea
overlay(text,text,int4)text
overlay(text,text,int4,int4)text
parse_ident(text,bool)_text =1
pclose(path)path
percent_rank()float8 win lax
percent_rank(*any)float8 agg lax
percentile_cont(_float8,float8)_float8 agg lax
percentile_cont(_float8,interval)_interval agg lax
percentile_cont(float8,float8)float8 agg lax
percentile_cont(float8,interval)interval agg lax
percentile_disc(_float8,anyelement)anyarray agg lax
percentile_disc(float8,anyelement)anyelement agg lax
pg_typeof(any)regtype lax
phraseto_tsquery(regconfig,text)tsquery
phraseto_tsquery(text)tsquery
pi()float8
plainto_tsquery(regconfig,text)tsquery
plainto_tsquery(text)tsquery
plpgsql_validator(oid)void
popen(path)path
position(bit,bit)int4
position(bytea,bytea)int4
position(text,text)int4
postgresql_fdw_validator(_text,oid)bool
pow(float8,float8)float8
pow(numeric,numeric)numeric
power(float8,float8)float8
power(numeric,numeric)numeric
pt_contained_circle(point,circle)bool
pt_contained_poly(point,polygon)bool
querytree(tsquery)text
quote_ident(text)text
quote_literal(anyelement)text
quote_literal(text)text
quote_nullable(anyelement)text lax
quote_nullable(text)text lax
radians(float8)float8
radius(circle)float8
random()float8
random(int4,int4)int4 @18
random(int8,int8)int8 @18
random(numeric,numeric)numeric @18
random_normal(float8,float8)float8 =2 @18
rank()int8 win lax
rank(*any)int8 agg lax
regclass(text)regclass
regclasssend(regclass)bytea
regcollationsend(regcollation)bytea
regconfigsend(regconfig)bytea
regdictionarysend(regdictionary)bytea
regexp_count(text,text)int4
regexp_count(text,text,int4)int4
regexp_count(text,text,int4,text)int4
regexp_instr(text,text)int4
regexp_instr(text,text,int4)int4
regexp_instr(text,text,int4,int4)int4
regexp_instr(text,text,int4,int4,int4)int4
regexp_instr(text,text,int4,int4,int4,text)int4
regexp_instr(text,text,int4,int4,int4,text,int4)int4
regexp_like(text,text)bool
regexp_like(text,text,text)bool
regexp_match(text,text)_text
regexp_match(text,text,text)_text
regexp_matches(text,text)setof _text
regexp_matches(text,text,text)setof _text
regexp_replace(text,text,text)text
regexp_replace(text,text,text,int4)text
regexp_replace(text,text,text,int4,int4)text
regexp_replace(text,text,text,int4,int4,text)text
regexp_replace(text,text,text,text)text
regexp_split_to_array(text,text)_text
regexp_split_to_array(text,text,text)_text
regexp_split_to_table(text,text)setof text
regexp_split_to_table(text,text,text)setof text
regexp_substr(text,text)text
regexp_substr(text,text,int4)text
regexp_substr(text,text,int4,int4)text
regexp_substr(text,text,int4,int4,text)text
regexp_substr(text,text,int4,int4,text,int4)text
regnamespacesend(regnamespace)bytea
regoperatorsend(regoperator)bytea
regopersend(regoper)bytea
regproceduresend(regprocedure)bytea
regprocsend(regproc)bytea
regr_avgx(float8,float8)float8 agg lax
regr_avgy(float8,float8)float8 agg lax
regr_count(float8,float8)int8 agg lax
regr_intercept(float8,float8)float8 agg lax
regr_r2(float8,float8)float8 agg lax
regr_slope(float8,float8)float8 agg lax
regr_sxx(float8,float8)float8 agg lax
regr_sxy(float8,float8)float8 agg lax
regr_syy(float8,float8)float8 agg lax
regrolesend(regrole)bytea
regtypesend(regtype)bytea
repeat(text,int4)text
replace(text,text,text)text
reverse(bytea)bytea @18
reverse(text)text
right(text,int4)text
round(float8)float8
round(numeric)numeric
round(numeric,int4)numeric
row_number()int8 win lax
row_security_active(oid)bool
row_security_active(text)bool
row_to_json(record)json
row_to_json(record,bool)json
rpad(text,int4)text
rpad(text,int4,text)text
rtrim(bytea,bytea)bytea
rtrim(text)text
rtrim(text,text)text
satisfies_hash_partition(oid,int4,int4,*any)bool lax
scale(numeric)int4
session_user()name
set_bit(bit,int4,int4)bit
set_bit(bytea,int8,int4)bytea
set_byte(bytea,int4,int4)bytea
set_config(text,text,bool)text lax
set_masklen(cidr,int4)cidr
set_masklen(inet,int4)inet
setseed(float8)void
setweight(tsvector,char)tsvector
setweight(tsvector,char,_text)tsvector
sha224(bytea)bytea
sha256(bytea)bytea
sha384(bytea)bytea
sha512(bytea)bytea
sign(float8)float8
sign(numeric)numeric
similar_escape(text,text)text lax
similar_to_escape(text)text
similar_to_escape(text,text)text
sin(float8)float8
sind(float8)float8
sinh(float8)float8
slope(point,point)float8
split_part(text,text,int4)text
sqrt(float8)float8
sqrt(numeric)numeric
starts_with(text,text)bool
statement_timestamp()timestamptz
stddev(float4)float8 agg lax
stddev(float8)float8 agg lax
stddev(int2)numeric agg lax
stddev(int4)numeric agg lax
stddev(int8)numeric agg lax
stddev(numeric)numeric agg lax
stddev_pop(float4)float8 agg lax
stddev_pop(float8)float8 agg lax
stddev_pop(int2)numeric agg lax
stddev_pop(int4)numeric agg lax
stddev_pop(int8)numeric agg lax
stddev_pop(numeric)numeric agg lax
stddev_samp(float4)float8 agg lax
stddev_samp(float8)float8 agg lax
stddev_samp(int2)numeric agg lax
stddev_samp(int4)numeric agg lax
stddev_samp(int8)numeric agg lax
stddev_samp(numeric)numeric agg lax
string_agg(bytea,bytea)bytea agg lax
string_agg(text,text)text agg lax
string_to_array(text,text)_text lax
string_to_array(text,text,text)_text lax
string_to_table(text,text)setof text lax
string_to_table(text,text,text)setof text lax
strip(tsvector)tsvector
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
sum(float4)float4 agg lax
sum(float8)float8 agg lax
sum(int2)int8 agg lax
sum(int4)int8 agg lax
sum(int8)numeric agg lax
sum(interval)interval agg lax
sum(money)money agg lax
sum(numeric)numeric agg lax
system_user()text @18
tan(float8)float8
tand(float8)float8
tanh(float8)float8
text(bool)text
text(bpchar)text
text(char)text
text(inet)text
text(name)text
text(xml)text
text_ge(text,text)bool
text_gt(text,text)bool
text_larger(text,text)text
text_le(text,text)bool
text_lt(text,text)bool
text_pattern_ge(text,text)bool
text_pattern_gt(text,text)bool
text_pattern_le(text,text)bool
text_pattern_lt(text,text)bool
text_smaller(text,text)text
textanycat(text,anynonarray)text
textcat(text,text)text
texteq(text,text)bool
texteqname(text,name)bool
textgename(text,name)bool
textgtname(text,name)bool
texticlike(text,text)bool
texticnlike(text,text)bool
texticregexeq(text,text)bool
texticregexne(text,text)bool
textlen(text)int4
textlename(text,name)bool
textlike(text,text)bool
textltname(text,name)bool
textne(text,text)bool
textnename(text,name)bool
textnlike(text,text)bool
textregexeq(text,text)bool
textregexne(text,text)bool
textsend(text)bytea
tideq(tid,tid)bool
tidge(tid,tid)bool
tidgt(tid,tid)bool
tidlarger(tid,tid)tid
tidle(tid,tid)bool
tidlt(tid,tid)bool
tidne(tid,tid)bool
tidsend(tid)bytea
tidsmaller(tid,tid)tid
time(interval)time
time(time,int4)time
time(timestamp)time
time(timestamptz)time
time(timetz)time
timedate_pl(time,date)timestamp
timeofday()text
timestamp(date)timestamp
timestamp(date,time)timestamp
timestamp(timestamp,int4)timestamp
timestamp(timestamptz)timestamp
timestamptypmodin(_cstring)int4
timestamptz(date)timestamptz
timestamptz(date,time)timestamptz
timestamptz(date,timetz)timestamptz
timestamptz(timestamp)timestamptz
timestamptz(timestamptz,int4)timestamptz
timestamptztypmodin(_cstring)int4
timetypmodin(_cstring)int4
timetz(time)timetz
timetz(timestamptz)timetz
timetz(timetz,int4)timetz
timetzdate_pl(timetz,date)timestamptz
timetztypmodin(_cstring)int4
timezone(interval,timestamp)timestamptz
timezone(interval,timestamptz)timestamp
timezone(interval,timetz)timetz
timezone(text,timestamp)timestamptz
timezone(text,timestamptz)timestamp
timezone(text,timetz)timetz
timezone(timestamp)timestamptz @18
timezone(timestamptz)timestamp @18
timezone(timetz)timetz @18
to_ascii(text)text
to_ascii(text,int4)text
to_ascii(text,name)text
to_bin(int4)text @18
to_bin(int8)text @18
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
to_json(anyelement)json
to_jsonb(anyelement)jsonb
to_number(text,text)numeric
to_oct(int4)text @18
to_oct(int8)text @18
to_regclass(text)regclass
to_regcollation(text)regcollation
to_regnamespace(text)regnamespace
to_regoper(text)regoper
to_regoperator(text)regoperator
to_regproc(text)regproc
to_regprocedure(text)regprocedure
to_regrole(text)regrole
to_regtype(text)regtype
to_regtypemod(text)int4 @18
to_timestamp(float8)timestamptz
to_timestamp(text,text)timestamptz
to_tsquery(regconfig,text)tsquery
to_tsquery(text)tsquery
to_tsvector(json)tsvector
to_tsvector(jsonb)tsvector
to_tsvector(regconfig,json)tsvector
to_tsvector(regconfig,jsonb)tsvector
to_tsvector(regconfig,text)tsvector
to_tsvector(text)tsvector
transaction_timestamp()timestamptz
translate(text,text,text)text
trim_array(anyarray,int4)anyarray
trim_scale(numeric)numeric
trunc(float8)float8
trunc(macaddr)macaddr
trunc(macaddr8)macaddr8
trunc(numeric)numeric
trunc(numeric,int4)numeric
tsmultirange()tsmultirange
tsmultirange(*_tsrange)tsmultirange
tsmultirange(tsrange)tsmultirange
tsrange(timestamp,timestamp)tsrange lax
tsrange(timestamp,timestamp,text)tsrange lax
tsrange_subdiff(timestamp,timestamp)float8
tstzmultirange()tstzmultirange
tstzmultirange(*_tstzrange)tstzmultirange
tstzmultirange(tstzrange)tstzmultirange
tstzrange(timestamptz,timestamptz)tstzrange lax
tstzrange(timestamptz,timestamptz,text)tstzrange lax
tstzrange_subdiff(timestamptz,timestamptz)float8
unicode_assigned(text)bool @18
unicode_version()text @18
unistr(text)text
unknownsend(unknown)bytea
unnest(anyarray)setof anyelement
unnest(anymultirange)setof anyrange
unnest(tsvector)setof record
upper(anymultirange)anyelement
upper(anyrange)anyelement
upper(text)text
upper_inc(anymultirange)bool
upper_inc(anyrange)bool
upper_inf(anymultirange)bool
upper_inf(anyrange)bool
uuidv4()uuid @18
uuidv7()uuid @18
uuidv7(interval)uuid @18
var_pop(float4)float8 agg lax
var_pop(float8)float8 agg lax
var_pop(int2)numeric agg lax
var_pop(int4)numeric agg lax
var_pop(int8)numeric agg lax
var_pop(numeric)numeric agg lax
var_samp(float4)float8 agg lax
var_samp(float8)float8 agg lax
var_samp(int2)numeric agg lax
var_samp(int4)numeric agg lax
var_samp(int8)numeric agg lax
var_samp(numeric)numeric agg lax
varchar(name)varchar
varchar(varchar,int4,bool)varchar
varcharsend(varchar)bytea
varchartypmodin(_cstring)int4
variance(float4)float8 agg lax
variance(float8)float8 agg lax
variance(int2)numeric agg lax
variance(int4)numeric agg lax
variance(int8)numeric agg lax
variance(numeric)numeric agg lax
version()text
void_send(void)bytea
websearch_to_tsquery(regconfig,text)tsquery
websearch_to_tsquery(text)tsquery
width(box)float8
width_bucket(anycompatible,anycompatiblearray)int4
width_bucket(float8,float8,float8,int4)int4
width_bucket(numeric,numeric,numeric,int4)int4
xid(xid8)xid
xid8_larger(xid8,xid8)xid8
xid8_smaller(xid8,xid8)xid8
xid8cmp(xid8,xid8)int4
xid8eq(xid8,xid8)bool
xid8ge(xid8,xid8)bool
xid8gt(xid8,xid8)bool
xid8le(xid8,xid8)bool
xid8lt(xid8,xid8)bool
xid8ne(xid8,xid8)bool
xid8send(xid8)bytea
xideq(xid,xid)bool
xideqint4(xid,int4)bool
xidneq(xid,xid)bool
xidneqint4(xid,int4)bool
xidsend(xid)bytea
xpath(text,xml)_xml
xpath(text,xml,_text)_xml
xpath_exists(text,xml)bool
xpath_exists(text,xml,_text)bool
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

-- meta holds what concerns the whole build: its configuration, the stage that is done.
create table meta (key text primary key, value text not null) without rowid;

-- source has how far each source is read.
create table source (id integer primary key, name text not null, stamp text not null, documents integer not null default 0,
  mark integer not null default 0, start integer not null default 0, done integer not null default 0);

-- page has each page that was read, once.
create table page (id integer primary key, url text not null unique, source integer not null, title text not null);

-- body tells where the sources have pictures.
create table body (url text primary key, kind text not null, source integer not null, path text not null, start integer not null,
  skip integer not null, refused text not null) without rowid;

-- skipped counts what never became a candidate, and texts that were refused, by stage and reason.
create table skipped (stage text not null, reason text not null, count integer not null, first text not null, primary key (stage, reason)) without rowid;

-- candidate has a row of each picture on a page and each entry of a list, in the order of the sources.
create table candidate (id integer primary key, page integer not null, urls text not null, texts text not null,
  state text not null, filter text not null default '', reason text not null default '',
  picture integer, caption text not null default '', kind text not null default '', captions text not null default '',
  twin integer not null default 0, score real, shard integer not null default -1, key text not null default '');
create index candidate_state on candidate (state, filter, reason);
create index candidate_picture on candidate (picture);

-- picture has each picture that a candidate wants, with what was measured.
create table picture (id integer primary key, url text not null unique, kind text not null, source integer not null, path text not null,
  start integer not null, skip integer not null, state text not null, reason text not null default '', tries integer not null default 0,
  bytes integer not null default 0, format text not null default '', width integer not null default 0, height integer not null default 0,
  animated integer not null default 0, entropy real not null default 0, commonest real not null default 0,
  digest text not null default '', exact text not null default '', alike text not null default '');
create index picture_state on picture (state);

-- shard has each shard that is written.
create table shard (id integer primary key, name text not null, samples integer not null, bytes integer not null, sha256 text not null);

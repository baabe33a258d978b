// The Chinook sample's schema (a shop for music: artists, albums, tracks, invoices) with rows of our own, from a seed: about as
// many as the sample has. Names are made up.

/** `factor` multiplies customers and invoices. */
export function chinookSql(factor = 1): string {
  const customers = 59 * factor;
  const invoices = 412 * factor;
  return `
CREATE TABLE artist (artist_id int NOT NULL PRIMARY KEY, name varchar(120));
CREATE TABLE album (album_id int NOT NULL PRIMARY KEY, title varchar(160) NOT NULL, artist_id int NOT NULL REFERENCES artist);
CREATE TABLE genre (genre_id int NOT NULL PRIMARY KEY, name varchar(120));
CREATE TABLE media_type (media_type_id int NOT NULL PRIMARY KEY, name varchar(120));
CREATE TABLE track (
  track_id int NOT NULL PRIMARY KEY, name varchar(200) NOT NULL, album_id int REFERENCES album,
  media_type_id int NOT NULL REFERENCES media_type, genre_id int REFERENCES genre, composer varchar(220),
  milliseconds int NOT NULL, bytes int, unit_price numeric(10,2) NOT NULL);
CREATE TABLE employee (
  employee_id int NOT NULL PRIMARY KEY, last_name varchar(20) NOT NULL, first_name varchar(20) NOT NULL, title varchar(30),
  reports_to int REFERENCES employee, birth_date timestamp, hire_date timestamp, address varchar(70), city varchar(40),
  state varchar(40), country varchar(40), postal_code varchar(10), phone varchar(24), fax varchar(24), email varchar(60));
CREATE TABLE customer (
  customer_id int NOT NULL PRIMARY KEY, first_name varchar(40) NOT NULL, last_name varchar(20) NOT NULL, company varchar(80),
  address varchar(70), city varchar(40), state varchar(40), country varchar(40), postal_code varchar(10), phone varchar(24),
  fax varchar(24), email varchar(60) NOT NULL, support_rep_id int REFERENCES employee);
CREATE TABLE invoice (
  invoice_id int NOT NULL PRIMARY KEY, customer_id int NOT NULL REFERENCES customer, invoice_date timestamp NOT NULL,
  billing_address varchar(70), billing_city varchar(40), billing_state varchar(40), billing_country varchar(40),
  billing_postal_code varchar(10), total numeric(10,2) NOT NULL);
CREATE TABLE invoice_line (
  invoice_line_id int NOT NULL PRIMARY KEY, invoice_id int NOT NULL REFERENCES invoice, track_id int NOT NULL REFERENCES track,
  unit_price numeric(10,2) NOT NULL, quantity int NOT NULL);
CREATE TABLE playlist (playlist_id int NOT NULL PRIMARY KEY, name varchar(120));
CREATE TABLE playlist_track (
  playlist_id int NOT NULL REFERENCES playlist, track_id int NOT NULL REFERENCES track, PRIMARY KEY (playlist_id, track_id));

INSERT INTO artist SELECT i, (ARRAY['The ', '', 'Los ', 'Black ', 'Electric '])[1 + i % 5] || (ARRAY['Rivers', 'Owls', 'Engines', 'Saints', 'Lanterns', 'Tides', 'Foxes'])[1 + i % 7] || ' ' || i FROM generate_series(1, 275) i;
INSERT INTO album SELECT i, (ARRAY['Live at ', 'Songs of ', 'Return to ', 'Best of ', 'Nights in '])[1 + i % 5] || (ARRAY['Harbour', 'Winter', 'the Moon', 'Ashes', 'Glass', 'Nowhere'])[1 + i % 6] || ' ' || i, 1 + (i * 37) % 204 FROM generate_series(1, 347) i;
INSERT INTO genre SELECT i, (ARRAY['Rock', 'Jazz', 'Metal', 'Alternative', 'Latin', 'Blues', 'Classical', 'Pop', 'Reggae', 'Soundtrack', 'World', 'Opera', 'Comedy', 'Drama', 'Soul', 'Folk', 'Electronic', 'Hip Hop', 'Easy Listening', 'Bossa Nova', 'Science', 'TV Shows', 'R&B', 'Heavy', 'Punk'])[i] FROM generate_series(1, 25) i;
INSERT INTO media_type SELECT i, (ARRAY['MPEG audio file', 'Protected AAC audio file', 'Protected MPEG-4 video file', 'Purchased AAC audio file', 'AAC audio file'])[i] FROM generate_series(1, 5) i;
INSERT INTO track SELECT i, (ARRAY['Blue ', 'My ', 'Last ', 'Sweet ', 'Broken '])[1 + i % 5] || (ARRAY['Road', 'Heart', 'Summer', 'Machine', 'River', 'Letter', 'Dance'])[1 + i % 7] || ' ' || i,
  1 + (i - 1) / 11 + CASE WHEN i % 29 = 0 THEN 2 ELSE 0 END, 1 + (i % 97) % 5, 1 + (i * i % 101) % 25,
  CASE WHEN i % 4 = 0 THEN NULL ELSE (ARRAY['A. Writer', 'B. Player', 'C. Singer', 'D. Drummer, A. Writer'])[1 + i % 4 % 4] END,
  60000 + (i * 7919 % 400000), 1000000 + i * 1237, CASE WHEN i % 17 = 0 THEN 1.99 ELSE 0.99 END
  FROM generate_series(1, 3503) i;
INSERT INTO employee VALUES
  (1, 'Adler', 'Anna', 'General Manager', NULL, '1962-02-18', '2002-08-14', '1 First St', 'Edmonton', 'AB', 'Canada', 'T5K', '+1 1', NULL, 'anna@shop.example'),
  (2, 'Egger', 'Nina', 'Sales Manager', 1, '1958-12-08', '2002-05-01', '2 First St', 'Calgary', 'AB', 'Canada', 'T2P', '+1 2', NULL, 'nina@shop.example'),
  (3, 'Peck', 'Jan', 'Sales Support Agent', 2, '1973-08-29', '2002-04-01', '3 First St', 'Calgary', 'AB', 'Canada', 'T2P', '+1 3', NULL, 'jan@shop.example'),
  (4, 'Pohl', 'Maja', 'Sales Support Agent', 2, '1947-09-19', '2003-05-03', '4 First St', 'Calgary', 'AB', 'Canada', 'T2P', '+1 4', NULL, 'maja@shop.example'),
  (5, 'Jonas', 'Stef', 'Sales Support Agent', 2, '1965-03-03', '2003-10-17', '5 First St', 'Calgary', 'AB', 'Canada', 'T3B', '+1 5', NULL, 'stef@shop.example'),
  (6, 'Mitt', 'Mike', 'IT Manager', 1, '1973-07-01', '2003-10-17', '6 First St', 'Calgary', 'AB', 'Canada', 'T3B', '+1 6', NULL, 'mike@shop.example'),
  (7, 'King', 'Rob', 'IT Staff', 6, '1970-05-29', '2004-01-02', '7 First St', 'Lethbridge', 'AB', 'Canada', 'T1K', '+1 7', NULL, 'rob@shop.example'),
  (8, 'Call', 'Lara', 'IT Staff', 6, '1968-01-09', '2004-03-04', '8 First St', 'Lethbridge', 'AB', 'Canada', 'T1H', '+1 8', NULL, 'lara@shop.example');
INSERT INTO customer SELECT i, (ARRAY['Lena', 'Tom', 'Ida', 'Noah', 'Mia', 'Omar', 'Eva'])[1 + i % 7], (ARRAY['Berg', 'Lopez', 'Silva', 'Novak', 'Okafor', 'Chen', 'Dubois', 'Kowalski'])[1 + i % 8] || i % 50,
  CASE WHEN i % 6 = 0 THEN 'Company ' || i END, i || ' Main Street',
  (ARRAY['Berlin', 'Paris', 'London', 'Prague', 'Oslo', 'Lisbon', 'Toronto', 'New York', 'Chicago', 'Delhi'])[1 + i % 10], CASE WHEN i % 3 = 0 THEN 'S' || i % 5 END,
  (ARRAY['Germany', 'France', 'United Kingdom', 'Czech Republic', 'Norway', 'Portugal', 'Canada', 'USA', 'USA', 'India'])[1 + i % 10], 'P' || i % 90, '+49 ' || i,
  CASE WHEN i % 5 = 0 THEN '+49 0' || i END, 'customer' || i || '@mail.example', 3 + i % 3 FROM generate_series(1, ${customers}) i;
INSERT INTO invoice SELECT i, 1 + (i * 7) % ${customers}, '2021-01-01'::timestamp + (i * 1825 / ${invoices}) * interval '1 day' + (i % 24) * interval '1 hour',
  c.address, c.city, c.state, c.country, c.postal_code, 0
  FROM generate_series(1, ${invoices}) i JOIN customer c ON c.customer_id = 1 + (i * 7) % ${customers};
INSERT INTO invoice_line SELECT row_number() OVER (ORDER BY i.invoice_id, n), i.invoice_id, 1 + (i.invoice_id * 31 + n * 577) % 3503, 0.99, 1 + (i.invoice_id + n) % 2
  FROM invoice i, generate_series(1, 14) n WHERE n <= 1 + i.invoice_id % 10;
UPDATE invoice_line SET unit_price = t.unit_price FROM track t WHERE t.track_id = invoice_line.track_id;
UPDATE invoice SET total = s.total FROM (SELECT invoice_id, sum(unit_price * quantity) AS total FROM invoice_line GROUP BY invoice_id) s WHERE s.invoice_id = invoice.invoice_id;
INSERT INTO playlist SELECT i, (ARRAY['Music', 'Movies', 'TV Shows', 'Audiobooks', '90s Music', 'Classical', 'Heavy Metal Classic', 'On-The-Go', 'Grunge'])[1 + i % 9] FROM generate_series(1, 18) i;
INSERT INTO playlist_track SELECT DISTINCT 1 + (t * p) % 18, t FROM generate_series(1, 3503) t, generate_series(1, 3) p;
CREATE INDEX ON album (artist_id); CREATE INDEX ON track (album_id); CREATE INDEX ON track (genre_id); CREATE INDEX ON track (media_type_id);
CREATE INDEX ON customer (support_rep_id); CREATE INDEX ON employee (reports_to); CREATE INDEX ON invoice (customer_id);
CREATE INDEX ON invoice_line (invoice_id); CREATE INDEX ON invoice_line (track_id); CREATE INDEX ON playlist_track (track_id);
CREATE VIEW sales AS
  SELECT l.invoice_line_id, i.invoice_id, i.invoice_date, i.customer_id, i.billing_country, l.track_id, l.unit_price, l.quantity
  FROM invoice i JOIN invoice_line l USING (invoice_id);
`;
}

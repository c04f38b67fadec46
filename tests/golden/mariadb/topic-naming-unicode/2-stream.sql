UPDATE `größe_λ 2` SET `über α` = 'b' WHERE id = 1;
UPDATE `größe_λ 2` SET id = 2 WHERE id = 1;
INSERT INTO zz_end VALUES (1);

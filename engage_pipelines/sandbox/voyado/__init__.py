"""Stand-in for Voyado Engage: API v3 (and the v2 reads that v3 lacks) and the file drop.

Where the documents are silent, this stand-in does the following (every line is an assumption):

* errors are `{"errorCode", "message"}`; a wrong key gives 401; a creation answers 201, a receipt or bulk call 202;
* the key of a contact, in the API and in files, is the first of externalId, memberNumber, email, mobilePhone,
  socialSecurityNumber that is given, or the one the setting `contact_key` names; other attributes may be shared;
  in v3 creating a contact whose key is taken gives 409; contact types are Member and Contact, Member unless named;
* an unknown store on a contact leaves the field out and is logged;
* a receipt is refused with 400 unless its required fields are there, returns have a negative quantity and a
  positive line price, and both lines (returns counting against) and payments add up to `totalGrossPrice`;
* `matchKeyType` does not know capitals;
* a receipt of an unknown contact is taken (202) and dropped at import; its unknown store is created all the same;
* preferences and consents are nested in contact bodies;
* bulk creation of a contact that exists, and bulk change of one that does not, fail for that row;
* stores answer the same in v2 and v3; creating one twice gives 400; a ghost counts as existing;
* CSV headers of contacts and transactions are those of `file_people` and `file_receipts`; a column of a contact
  file that is neither attribute nor preference is a consent; an empty cell means "not given" (in the API an empty
  value erases);
* a double quote anywhere in a file, or a row of another width than the header, makes the whole file fail;
* a receipt in a file whose lines there do not make up its total is refused and logged, unless the setting
  `check_file_totals` is off: then the first part of a split receipt is kept and the second is lost;
* a page of a contact's transactions has at most 100, whatever is asked for; `id` is Voyado's own and `externalId`
  the receipt's;
* XML files are refused: this tenant takes CSV only.
"""

from engage_pipelines.sandbox.voyado.stand_in import VoyadoStandIn

__all__ = ["VoyadoStandIn"]
